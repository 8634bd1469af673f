// SPDX-License-Identifier: Apache-2.0
#include "cli/worker_job.h"

#include "cli/model_library.h"
#include "run/run_folder.h"

namespace atelier::cli {

Result<void> check_version(const std::string& prepared_by) {
  if (prepared_by.empty() || prepared_by == ATELIER_VERSION) return {};
  return make_error(
      Code::unavailable,
      "This is Atelier {}, but the run was prepared by {}; install the same version on "
      "every node.",
      ATELIER_VERSION, prepared_by);
}

Error not_seen_here(const std::string& url) {
  return make_error(Code::unavailable,
                    "The run '{}' cannot be seen from here; give --runs a folder that every node "
                    "shares, or a container.",
                    url);
}

Result<run::Manifest> read_run_manifest(ObjectStore& store, const std::string& run_id,
                                        const std::string& url, bool prepared) {
  auto manifest = TRY(run::RunFolder(store, run_id).read_manifest());
  if (!manifest && prepared) return not_seen_here(url);
  if (!manifest) {
    return make_error(Code::invalid_argument,
                      "There is no prepared run at '{}'; `atelier run` prints the URL of its run.",
                      url);
  }
  return *std::move(manifest);
}

Result<StoredInput> find_same_input(const run::InputIdentity& wanted, const std::string& place) {
  StoredInput input = TRY(find_input(place));
  if (input.identity.etag != wanted.etag || input.identity.size != wanted.size) {
    return make_error(Code::conflict,
                      "'{}' changed since the run was prepared; start it again with `atelier run`.",
                      place);
  }
  return input;
}

Result<run::ModelFiles> find_run_model(const run::Manifest& manifest, const std::string& given) {
  if (!given.empty()) return find_model_files(given);
  if (manifest.model.url.empty()) {
    return make_error(Code::invalid_argument,
                      "Run {} does not say where its model '{}' lies; name it with --model.",
                      manifest.run_id, manifest.model.name);
  }
  return find_model_files(manifest.model.url);
}

run::ScorerTask worker_task(const run::Manifest& manifest, const StoredInput& input,
                            const run::ModelFiles& model, const WorkerSetting& setting) {
  run::ScorerTask task;
  task.input = input.source.get();
  task.model = &model;
  task.identity = input.identity;
  task.shown_name = setting.shown_name;
  task.parameters = manifest.parameters;
  task.threads = setting.threads;
  task.sandbox = setting.sandbox;
  task.trace = setting.trace;
  task.limits = time_limits(setting.limits);
  task.memory = setting.memory;
  task.find_run = [&manifest, &model](const run::ModelIdentity& found) -> Result<run::Standing> {
    if (found.sha256 != manifest.model.sha256 || found.spec != manifest.model.spec) {
      return make_error(Code::conflict,
                        "The model '{}' changed since the run was prepared; start it again with "
                        "`atelier run`.",
                        model.url);
    }
    return run::Standing{manifest.run_id, manifest};
  };
  task.write_manifest = [&manifest](const run::Manifest&) { return manifest; };
  return task;
}

}  // namespace atelier::cli
