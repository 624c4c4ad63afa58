// A small test framework: TEST(name) { CHECK(...); }, and a main that runs every test linked in.
//
// Tests keep going after a failed check and report its file and line. With arguments, main runs
// the tests whose names contain one of them.
#pragma once

#include <cmath>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

namespace check {

struct Test {
  const char* name;
  void (*body)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

inline bool& failed() {
  static bool flag = false;
  return flag;
}

struct Registration {
  Registration(const char* name, void (*body)()) { tests().push_back({name, body}); }
};

inline void expect(bool holds, const char* file, int line, const std::string& what) {
  if (holds) return;
  failed() = true;
  std::printf("%s:%d: %s\n", file, line, what.c_str());
}

inline void expect_near(double actual, double expected, double tolerance, const char* file,
                        int line, const char* what) {
  // Written so that NaN fails.
  const bool holds = std::abs(actual - expected) <= tolerance;
  char numbers[120];
  std::snprintf(numbers, sizeof numbers, " is %.9g, not %.9g +- %.3g", actual, expected, tolerance);
  expect(holds, file, line, what + std::string(numbers));
}

inline bool selected(const Test& test, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::string(test.name).find(argv[i]) != std::string::npos) return true;
  }
  return argc <= 1;
}

inline int run(int argc, char** argv) {
  int passes = 0;
  int failures = 0;
  for (const Test& test : tests()) {
    if (!selected(test, argc, argv)) continue;
    failed() = false;
    try {
      test.body();
    } catch (const std::exception& error) {
      expect(false, test.name, 0, std::string("threw ") + error.what());
    }
    if (failed()) std::printf("FAILED %s\n", test.name);
    ++(failed() ? failures : passes);
  }
  std::printf("%d passed, %d failed\n", passes, failures);
  return failures == 0 && passes > 0 ? 0 : 1;
}

}  // namespace check

#define TEST(name)                                                           \
  static void name();                                                        \
  static const ::check::Registration check_registration_##name(#name, name); \
  static void name()

#define CHECK(...) ::check::expect(static_cast<bool>(__VA_ARGS__), __FILE__, __LINE__, #__VA_ARGS__)

#define CHECK_NEAR(actual, expected, tolerance) \
  ::check::expect_near(actual, expected, tolerance, __FILE__, __LINE__, #actual)

// Passes if the statement throws Exception with a message that contains `text`.
#define CHECK_THROWS(statement, Exception, text)                                          \
  do {                                                                                    \
    bool check_thrown = false;                                                            \
    try {                                                                                 \
      statement;                                                                          \
    } catch (const Exception& error) {                                                    \
      check_thrown = true;                                                                \
      const bool says = std::string(error.what()).find(text) != std::string::npos;        \
      ::check::expect(says, __FILE__, __LINE__, std::string("message: ") + error.what()); \
    }                                                                                     \
    ::check::expect(check_thrown, __FILE__, __LINE__, #statement " throws " #Exception);  \
  } while (false)

// Weak, so that test files may be linked together or alone, and a program may bring its own.
#ifndef CHECK_OWN_MAIN
__attribute__((weak)) int main(int argc, char** argv) { return check::run(argc, argv); }
#endif
