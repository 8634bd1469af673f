// SPDX-License-Identifier: Apache-2.0
// Who of a gang has come, where nobody hears its ranks while they wait for one another (Slurm):
// each node's rank writes a mark into the run folder, `gang/GANG/NODE.there`, and again every few
// seconds, so that one who came and fell silent is told from one who waits.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "store/object_store.h"

namespace atelier::run {

// `count`: another one each time. Errors of all three: those of the store.
Result<void> put_mark(ObjectStore& store, const std::string& run_id, const std::string& gang,
                      const std::string& node, int count);
Result<void> remove_mark(ObjectStore& store, const std::string& run_id, const std::string& gang,
                         const std::string& node);
// Node -> what changes with every mark.
using GangMarks = std::map<std::string, std::string>;
Result<GangMarks> marks_of(ObjectStore& store, const std::string& run_id, const std::string& gang);

// Those of `nodes`, in their order, that have no mark `now`, or none that differs from `before`,
// when some marks must have been written since.
std::vector<std::string> absent_nodes(const std::vector<std::string>& nodes,
                                      const GangMarks& before, const GangMarks& now);

}  // namespace atelier::run
