// SPDX-License-Identifier: Apache-2.0
// The parts of a configuration that have files of their own. Errors of all: invalid_argument.
#pragma once

#include <filesystem>

#include "server/config.h"
#include "server/toml_reader.h"

namespace atelier::server {

// `reader` reads the whole file.
Result<ServiceLimits> read_limits(TomlReader& reader);
Result<std::vector<PoolConfig>> read_pools(TomlReader& reader, const std::filesystem::path& folder);
// [webhooks] and [[webhook]]; after allow_plain_http was read.
Result<void> read_webhooks(TomlReader& reader, const std::filesystem::path& folder, Config& config);

// A path as it stands or from `folder`, without "." and "..".
std::filesystem::path path_from(const std::filesystem::path& folder, const std::string& path);

}  // namespace atelier::server
