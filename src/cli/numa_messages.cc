// SPDX-License-Identifier: Apache-2.0
// libnuma, which x265 binds its threads with, prints to stderr by itself whatever it is denied in
// the sandbox. numa(3) leaves both functions to the program; the linker exports them.
extern "C" {

// NOLINTNEXTLINE(readability-identifier-naming): the library's names
[[gnu::visibility("default")]] void numa_error(char* /*where*/) {}
// NOLINTNEXTLINE(readability-identifier-naming, cert-dcl50-cpp): the library's names
[[gnu::visibility("default")]] void numa_warn(int /*number*/, char* /*format*/, ...) {}
}
