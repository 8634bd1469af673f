// SPDX-License-Identifier: Apache-2.0
// Errors as values. Every fallible function at a folder's boundary returns Result<T>; nothing in
// Atelier throws across one. Foreign codes (errno, AVERROR, dnnl_status) are mapped once, in the
// wrapper that meets them.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace atelier {

// The code says what to do about it.
enum class Code {
  invalid_argument,  // the command line, configuration or model is wrong: tell the user (exit code
                     // 2)
  invalid_input,     // the media cannot be scored: tell the user (exit code 3)
  unavailable,       // a store or engine cannot be reached: retry, then tell the user (exit code 4)
  conflict,          // somebody else did it, or the object changed: look again
  corrupt,           // these bytes are damaged: fail the chunk
  cancelled,         // unwind
  no_space,          // a disk or quota is full: nothing will help but room (exit code 1)
  internal,          // a bug or a broken library (exit code 1)
};

const char* to_string(Code code);

// `message` is one sentence for the user: what, where, what to do. No trailing newline.
struct Error {
  Code code = Code::internal;
  std::string message;
  // With unavailable: what the other side asked to wait before it is asked again.
  std::chrono::milliseconds retry_after{0};
};

template <class... Args>
Error make_error(Code code, fmt::format_string<Args...> format, Args&&... args) {
  return Error{code, fmt::format(format, std::forward<Args>(args)...), {}};
}

// A value or an Error. Accessing the wrong side aborts: check, or use TRY.
template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & { return ok() ? std::get<0>(state_) : (std::abort(), std::get<0>(state_)); }
  const T& value() const& {
    return ok() ? std::get<0>(state_) : (std::abort(), std::get<0>(state_));
  }
  // By value, so that `for (auto& x : f().value())` does not dangle.
  T value() && {
    return ok() ? std::get<0>(std::move(state_)) : (std::abort(), std::get<0>(std::move(state_)));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const {
    return !ok() ? std::get<1>(state_) : (std::abort(), std::get<1>(state_));
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}
  bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  void value() const {}
  const Error& error() const { return error_ ? *error_ : (std::abort(), *error_); }

 private:
  std::optional<Error> error_;
};

namespace detail {
template <class T>
T take(Result<T>&& result) {
  return std::move(result).value();
}
inline void take(Result<void>&&) {}
}  // namespace detail

// Evaluates to the value of a Result, or returns its error from the enclosing function.
#define TRY(expression) ATELIER_TRY_(expression, __COUNTER__)
#define ATELIER_TRY_(expression, n) ATELIER_TRY_NAMED_(expression, n)
#define ATELIER_TRY_NAMED_(expression, n)                                   \
  ({                                                                        \
    auto try_##n = (expression);                                            \
    if (!try_##n.ok()) return ::atelier::Error(std::move(try_##n).error()); \
    ::atelier::detail::take(std::move(try_##n));                            \
  })

}  // namespace atelier
