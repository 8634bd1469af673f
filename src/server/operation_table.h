// SPDX-License-Identifier: Apache-2.0
// Writing down a part of the router's table so that it can be read.
//
//   OperationTable table("runs");
//   table.add("submitRun", "POST", "/v1/runs", Role::submitter, "Puts a run into the queue.",
//   handle)
//       .takes_json("Submission")
//       .gives("Submitted", 201);
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/router.h"

namespace atelier::server {

// One thread.
class OperationTable {
 public:
  using Handle = std::function<Result<Reply>(const Call&)>;
  // `tag`: of all its operations.
  explicit OperationTable(std::string tag) : tag_(std::move(tag)) {}

  // The next operation: it takes no body and answers any JSON with 200, unless what follows, which
  // speaks of the one that was added last, says otherwise.
  OperationTable& add(std::string id, std::string method, std::string path, Role role,
                      std::string summary, Handle handle);
  // Schemas are names in openapi_schemas.h.
  OperationTable& takes_json(std::string schema = "");
  OperationTable& takes(std::string media_type);
  OperationTable& also_takes_text();
  OperationTable& gives(std::string schema, int status = 200);
  OperationTable& also_gives(std::string schema, int status, std::string summary);
  OperationTable& gives_media(std::string media_type);
  OperationTable& gives_nothing(int status = 204);
  OperationTable& query(std::string name, std::string type, std::string summary);
  OperationTable& header(std::string name, std::string summary);

  std::vector<Operation> take() { return std::move(operations_); }

 private:
  Operation& last() { return operations_.back(); }
  const std::string tag_;
  std::vector<Operation> operations_;
};

// A handle that calls a method of an object, which it shares.
template <class Api>
OperationTable::Handle handle_by(std::shared_ptr<Api> api,
                                 Result<Reply> (Api::*method)(const Call&)) {
  return [api = std::move(api), method](const Call& call) { return (api.get()->*method)(call); };
}

}  // namespace atelier::server
