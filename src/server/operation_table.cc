// SPDX-License-Identifier: Apache-2.0
#include "server/operation_table.h"

namespace atelier::server {

OperationTable& OperationTable::add(std::string id, std::string method, std::string path, Role role,
                                    std::string summary, Handle handle) {
  Operation operation;
  operation.id = std::move(id);
  operation.method = std::move(method);
  operation.path = std::move(path);
  operation.role = role;
  operation.summary = std::move(summary);
  operation.tag = tag_;
  operation.handle = std::move(handle);
  operations_.push_back(std::move(operation));
  return *this;
}

OperationTable& OperationTable::takes_json(std::string schema) {
  last().request_schema = std::move(schema);
  return takes("application/json");
}

OperationTable& OperationTable::takes(std::string media_type) {
  last().request_type = std::move(media_type);
  return *this;
}

OperationTable& OperationTable::also_takes_text() {
  last().takes_text = true;
  return *this;
}

OperationTable& OperationTable::gives(std::string schema, int status) {
  last().response_schema = std::move(schema);
  last().status = status;
  return *this;
}

OperationTable& OperationTable::also_gives(std::string schema, int status, std::string summary) {
  last().other_responses.push_back({status, std::move(schema), std::move(summary)});
  return *this;
}

OperationTable& OperationTable::gives_media(std::string media_type) {
  last().response_type = std::move(media_type);
  return *this;
}

OperationTable& OperationTable::gives_nothing(int status) {
  last().response_type.clear();
  last().status = status;
  return *this;
}

OperationTable& OperationTable::query(std::string name, std::string type, std::string summary) {
  last().parameters.push_back({std::move(name), "query", std::move(type), std::move(summary)});
  return *this;
}

OperationTable& OperationTable::header(std::string name, std::string summary) {
  last().parameters.push_back({std::move(name), "header", "string", std::move(summary)});
  return *this;
}

}  // namespace atelier::server
