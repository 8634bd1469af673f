// SPDX-License-Identifier: Apache-2.0
// atelier rekey: another master key for an encrypted place.
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/inputs.h"

namespace atelier::cli {

Result<void> rekey_command(const RekeyOptions& options, Console& console) {
  if (options.key_file.empty() == options.key_command.empty()) {
    return make_error(Code::invalid_argument,
                      "rekey needs just one of --new-key-file and --new-key-command.");
  }
  const Location place = TRY(parse_location(options.place));
  const MasterKey key = TRY(options.key_file.empty() ? master_key_of_command(options.key_command)
                                                     : read_master_key_file(options.key_file));
  const bool changed = TRY(change_key(place, key));
  const nlohmann::json found = {{"changed", changed}};
  console.object(found.dump() + "\n");
  console.say(changed
                  ? "The new key opens it now, and the old one no longer does: name the new one "
                    "in the file of credentials."
                  : "It was opened by that key already.");
  return {};
}

}  // namespace atelier::cli
