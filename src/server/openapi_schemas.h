// SPDX-License-Identifier: Apache-2.0
// What the REST operations take and give, as JSON Schema (https://json-schema.org/draft/2020-12),
// by the names that operations use. tests/service holds every answer against them.
#pragma once

#include <nlohmann/json.hpp>

namespace atelier::server {

// Name -> schema. An object has no members besides those listed, unless it lists none or says
// additionalProperties.
nlohmann::json openapi_schemas();

}  // namespace atelier::server
