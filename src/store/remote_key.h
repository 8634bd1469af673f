// SPDX-License-Identifier: Apache-2.0
// Keys as the services know them. Azure and S3 name objects by Unicode text and list them in XML,
// which has no control characters; our keys are any bytes. A byte that is no part of valid UTF-8,
// or of one of these private code points, and a control character, is stored as the private code
// point U+10FE00 + byte. Everything else,
// which is every name that a person gives, is stored as it is. Lists are ordered by what is stored,
// so that names with such bytes come last.
#pragma once

#include <string>
#include <string_view>

namespace atelier {

std::string to_remote_key(std::string_view key);
std::string from_remote_key(std::string_view stored);

// How long the part of `prefix` is that says nothing about bytes that may follow: all of it, but
// for a last character that is cut short.
size_t whole_characters(std::string_view prefix);

}  // namespace atelier
