// SPDX-License-Identifier: Apache-2.0
// atelier rekey: another master key for an encrypted place, or another store key in it.
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/inputs.h"

namespace atelier::cli {

Result<void> rekey_command(const RekeyOptions& options, Console& console) {
  const int asked = (options.key_file.empty() ? 0 : 1) + (options.key_command.empty() ? 0 : 1) +
                    (options.store_key ? 1 : 0);
  if (asked != 1) {
    return Error{Code::invalid_argument,
                 "rekey needs just one of --new-key-file, --new-key-command and --new-store-key."};
  }
  const Location place = TRY(parse_location(options.place));
  bool changed = true;
  std::string said = "What is written by who opens it from now on has a store key of its own.";
  if (options.store_key) {
    TRY(add_key(place));
  } else {
    const MasterKey key = TRY(options.key_file.empty() ? master_key_of_command(options.key_command)
                                                       : read_master_key_file(options.key_file));
    changed = TRY(change_key(place, key));
    said = changed ? "The new key opens it now, and the old one no longer does: name the new one "
                     "in the file of credentials."
                   : "It was opened by that key already.";
  }
  const nlohmann::json found = {{"changed", changed}};
  console.object(found.dump() + "\n");
  console.say(said);
  return {};
}

}  // namespace atelier::cli
