# SPDX-License-Identifier: Apache-2.0
# One folder under src/ is one static library with its unit tests beside it.

add_library(atelier_flags INTERFACE)
target_include_directories(atelier_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(atelier_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Werror
  -Wno-pedantic # statement expressions (TRY)
  -fvisibility=hidden
  # Bits must not depend on whether the compiler chose to contract a*b+c.
  -ffp-contract=off)
if(ATELIER_SANITIZE)
  target_compile_options(atelier_flags INTERFACE
    -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
    -Wno-maybe-uninitialized) # GCC 12 misjudges std::variant the more, the more code it sees at once; build/release is warned
  target_link_options(atelier_flags INTERFACE -fsanitize=address,undefined)
endif()
if(ATELIER_FUZZ)
  target_compile_options(atelier_flags INTERFACE
    -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
    -Wno-error) # clang warns of more than g++, whose word counts
  target_link_options(atelier_flags INTERFACE -fsanitize=address,undefined)
endif()

# What a test tries is in libraries, optimised and under both sanitizers; to do the same to its own code takes longer than that
# saves. Linked last: the last option counts.
add_library(atelier_test_flags INTERFACE)
target_compile_options(atelier_test_flags INTERFACE -O0)
if(ATELIER_SANITIZE)
  target_compile_options(atelier_test_flags INTERFACE -fno-sanitize=undefined)
endif()

# atelier_library(NAME SOURCES a.cc... TESTS a_test.cc... LINK PUBLIC x PRIVATE y)
function(atelier_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;TESTS;LINK" ${ARGN})
  add_library(atelier_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(atelier_${name} PUBLIC atelier_flags)
  if(ARG_LINK)
    target_link_libraries(atelier_${name} ${ARG_LINK})
  endif()
  atelier_remember(${ARG_SOURCES} ${ARG_TESTS})
  if(ATELIER_TESTS AND ARG_TESTS)
    atelier_test(${name}_test SOURCES ${ARG_TESTS} LINK atelier_${name} LABELS unit)
  endif()
endfunction()

# atelier_test(NAME SOURCES ... LINK ... LABELS ...)
function(atelier_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gmock GTest::gtest_main atelier_test_flags)
  target_compile_definitions(${name} PRIVATE
    ATELIER_SOURCE_DIR="${CMAKE_SOURCE_DIR}" ATELIER_BINARY_DIR="${CMAKE_BINARY_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}"
    SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\] [0-9]+ tests?, listed below:.*\\[  PASSED  \\] 0 tests")
  atelier_remember(${ARG_SOURCES})
endfunction()

# Eight sources of a target are compiled as one (CMAKE_UNITY_BUILD, in the presets): headers and templates, most of what a build
# takes, are then read once for all of them. Two sources whose own names (anonymous namespaces) meet in one such unit cannot be
# in it: the compiler says so, and the later one is listed here. So is one that GCC 12 wrongly warns of with so much to inline.
function(atelier_compile_alone)
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# Under the sanitizers code without long loops is not optimised, as compiling it takes longer than running it; and where it has
# values and no bytes (REFERENCES_UNCHECKED), references are not looked at one by one, which costs as much again: that a null
# pointer is followed is seen by the address sanitizer.
add_library(atelier_quick_flags INTERFACE)
target_compile_options(atelier_quick_flags INTERFACE -O0)
add_library(atelier_value_flags INTERFACE)
target_compile_options(atelier_value_flags INTERFACE -O0 -fno-sanitize=null,alignment)
function(atelier_sanitize_quickly)
  cmake_parse_arguments(ARG "REFERENCES_UNCHECKED" "" "" ${ARGN})
  if(NOT ATELIER_SANITIZE)
    return()
  endif()
  set(flags atelier_quick_flags)
  if(ARG_REFERENCES_UNCHECKED)
    set(flags atelier_value_flags)
  endif()
  foreach(target ${ARG_UNPARSED_ARGUMENTS})
    target_link_libraries(${target} PRIVATE ${flags})
  endforeach()
endfunction()

# What is labelled slow is no part of a build under the sanitizers, whose tests are the others.
function(atelier_not_sanitized target)
  if(ATELIER_SANITIZE)
    set_target_properties(${target} PROPERTIES EXCLUDE_FROM_ALL ON)
  endif()
endfunction()

function(atelier_remember)
  foreach(source ${ARGN})
    get_filename_component(path ${source} ABSOLUTE BASE_DIR ${CMAKE_CURRENT_SOURCE_DIR})
    set_property(GLOBAL APPEND PROPERTY ATELIER_KNOWN_SOURCES ${path})
  endforeach()
endfunction()

# A source or test on disk that no target builds stops the configure step.
function(atelier_check_no_orphans)
  get_property(known GLOBAL PROPERTY ATELIER_KNOWN_SOURCES)
  file(GLOB_RECURSE on_disk CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/*.cc ${CMAKE_SOURCE_DIR}/tests/*.cc
    ${CMAKE_SOURCE_DIR}/benchmarks/*.cc)
  foreach(path ${on_disk})
    if(NOT path IN_LIST known AND ATELIER_TESTS)
      message(FATAL_ERROR "${path} is in no target: add it to its folder's CMakeLists.txt or remove it")
    endif()
  endforeach()
endfunction()
