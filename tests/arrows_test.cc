// SPDX-License-Identifier: Apache-2.0
// Arrows between the folders of src/ point down only, and a foreign header lives in one folder.
#include "arrows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace atelier {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TEST(Arrows, TheSourcesObey) {
  const fs::path src = fs::path(ATELIER_SOURCE_DIR) / "src";
  size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(src)) {
    const std::string extension = entry.path().extension().native();
    if (!entry.is_regular_file() || (extension != ".h" && extension != ".cc")) continue;
    std::ostringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    for (const std::string& sentence :
         forbidden_includes(fs::relative(entry.path(), src).native(), text.str())) {
      ADD_FAILURE() << "src/" << sentence;
    }
    ++files;
  }
  EXPECT_GT(files, 20U) << "the sources were not found";
}

TEST(Arrows, ArrowsDownArePermitted) {
  EXPECT_THAT(forbidden_includes("run/score.cc",
                                 "#include \"run/score.h\"\n#include \"media/probe.h\"\n"
                                 "#include \"base/result.h\"\n#include <nlohmann/json.hpp>\n"),
              IsEmpty());
  EXPECT_THAT(forbidden_includes("cli/main.cc", "#include \"run/job.h\"\n#include <CLI/CLI.hpp>"),
              IsEmpty());
  EXPECT_THAT(forbidden_includes("media/a_test.cc",
                                 "#include <libavcodec/avcodec.h>\n#include <gtest/gtest.h>\n"
                                 "#include <vector>\n#include <sys/stat.h>\n"),
              IsEmpty());
}

TEST(Arrows, AnArrowUpOrAcrossIsFound) {
  EXPECT_THAT(forbidden_includes("media/probe.cc", "// x\n#include \"store/object_store.h\"\n"),
              ElementsAre("media/probe.cc:2: store/object_store.h is included, but media may not "
                          "use store"));
  EXPECT_THAT(forbidden_includes("base/a.h", "#include \"run/plan.h\""), SizeIs(1));
  EXPECT_THAT(forbidden_includes("model/a.h", "#include \"media/b.h\""), SizeIs(1));
  EXPECT_THAT(forbidden_includes("run/a.h", "#include \"cli/b.h\""), SizeIs(1));
  EXPECT_THAT(forbidden_includes("engine/a.h", "#include \"server/b.h\""), SizeIs(1));
}

TEST(Arrows, AForeignHeaderOutsideItsFolderIsFound) {
  EXPECT_THAT(forbidden_includes("run/a.cc", "#include <libavformat/avformat.h>\n"),
              ElementsAre(HasSubstr("libavformat/ belongs to media alone")));
  EXPECT_THAT(forbidden_includes("media/a.cc", "#include <nlohmann/json.hpp>\n"),
              ElementsAre(HasSubstr("store and run and engine and server and cli")));
  for (const char* header : {"oneapi/dnnl/dnnl.hpp", "dnnl.hpp", "onnx/onnx_pb.h",
                             "google/protobuf/message.h", "openssl/evp.h", "toml++/toml.h"}) {
    EXPECT_THAT(forbidden_includes("cli/a.cc", std::string("#include <") + header + ">"), SizeIs(1))
        << header;
  }
}

TEST(Arrows, AForeignHeaderMayBelongToAFolderInAFolder) {
  const char* line = "#include <mpi.h>\n#include \"engine/mpi.h\"\n";
  EXPECT_THAT(forbidden_includes("engine/mpi/mpi_gang.cc", line), IsEmpty());
  for (const char* path : {"engine/mpi.cc", "engine/mpi_command.cc", "cli/rank_main.cc"}) {
    EXPECT_THAT(forbidden_includes(path, line),
                ElementsAre(HasSubstr("mpi.h belongs to engine/mpi alone")))
        << path;
  }
}

TEST(Arrows, OddSpellingsDoNotHideAnInclude) {
  for (const char* line :
       {"  #  include \"cli/a.h\"", "#include\"cli/a.h\"", "#\tinclude  \"cli/a.h\"",
        "extern \"C\" {\n#include <libavutil/opt.h>\n}", "#include \"libavutil/opt.h\"",
        "#include \"a.h\"", "#include \"../cli/a.h\"", "#include \"./base/a.h\"\r"}) {
    EXPECT_THAT(forbidden_includes("base/x.cc", line), SizeIs(1)) << line;
  }
}

TEST(Arrows, AFolderThatIsNotInTheTableIsFound) {
  EXPECT_THAT(forbidden_includes("helpers/x.cc", ""), SizeIs(1));
  EXPECT_THAT(forbidden_includes("loose.cc", ""), SizeIs(1));
}

}  // namespace
}  // namespace atelier
