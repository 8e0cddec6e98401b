#!/usr/bin/python3
"""The installed SDK is all that a program needs: a C99 and a C++11 program are built and run with
it, found by pkg-config and by find_package, linked with the shared and with the static library.

usage: check_install.py BUILD COMPILER_FLAGS | --self-test
"""

import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

HEADERS = {"client.h", "error.h", "participant.h", "sqlite.h", "types.h", "vow.h"}

# Valid C99 and valid C++11: opens a participant on a log of its own and has it answer.
PROGRAM = r"""
#include <stdio.h>
#include <string.h>
#include <vow/vow.h>

static enum vow_vote prepare(void *context, const struct vow_work *work,
                             struct vow_reason *reason) {
  (void)context;
  vow_reason_set(reason, "%s", work->transaction);
  return VOW_VOTE_ABORT;
}

static enum vow_error commit(void *context, const struct vow_work *work,
                             struct vow_reason *reason) {
  (void)context;
  (void)work;
  (void)reason;
  return VOW_OK;
}

int main(int argc, char **argv) {
  static const char body[] =
      "{\"transaction\":\"01935e2a-0000-7000-8000-000000000001\",\"branch\":1,\"timeout_ms\":1,"
      "\"coordinator\":\"http://127.0.0.1:1\","
      "\"finished_below\":\"01935e2a-0000-7000-8000-000000000000\"}";
  char why[256] = "";
  struct vow_participant *participant = NULL;
  struct vow_participant_options options;
  struct vow_http_request request;
  struct vow_http_response response;
  if (argc != 2) return 2;
  vow_participant_options_init(&options);
  options.log_path = argv[1];
  options.prepare = prepare;
  options.commit = commit;
  if (vow_participant_open(&participant, &options, why, sizeof why) != VOW_OK) {
    return (void)fprintf(stderr, "%s\n", why), 1;
  }
  memset(&request, 0, sizeof request);
  request.method = "POST";
  request.path = "/prepare";
  request.content_type = "application/json";
  request.body = body;
  request.body_bytes = sizeof body - 1;
  if (vow_participant_handle(participant, &request, &response) != VOW_OK) return 1;
  printf("%s\n", response.body);
  vow_free(response.body);
  vow_participant_close(participant);
  return 0;
}
"""
EXPECTED = '{"vote":"abort","reason":"01935e2a-0000-7000-8000-000000000001"}'

PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES C CXX)
find_package(vow 0.1 REQUIRED)
set(CMAKE_C_STANDARD 99)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_STANDARD 11)
set(CMAKE_CXX_EXTENSIONS OFF)
add_executable(shared consumer.c)
target_link_libraries(shared PRIVATE vow::vow)
add_executable(static consumer.cpp)
target_link_libraries(static PRIVATE vow::vow_static)
"""


def run(command, **options):
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def check_run(program, folder, environment):
    """The program works, on a new log each time."""
    said = run([program, folder / f"{program.name}.votes"], env=environment)
    if said != EXPECTED:
        raise RuntimeError(f"{program.name} said {said}")


def pkg_config(prefix, *arguments):
    found = next(prefix.rglob("vow.pc"), None)
    if not found:
        raise RuntimeError("no vow.pc was installed")
    environment = {**os.environ, "PKG_CONFIG_PATH": str(found.parent)}
    return shlex.split(run(["pkg-config", *arguments, "vow"], env=environment))


def requires(prefix):
    """What vow.pc names for who links statically."""
    text = next(prefix.rglob("vow.pc")).read_text()
    lines = [line for line in text.splitlines() if line.startswith("Requires.private:")]
    return lines[0].split()[1:]


def by_pkg_config(folder, prefix, flags, environment):
    strict = ["-pedantic", "-Wall", "-Wextra", "-Werror", *flags]
    cflags, libs = pkg_config(prefix, "--cflags"), pkg_config(prefix, "--libs")
    for program, compiler, source in (
        ("pc_c99", ["gcc", "-std=c99"], "consumer.c"),
        ("pc_cxx", ["g++", "-std=c++11"], "consumer.cpp"),
    ):
        run([*compiler, *strict, *cflags, folder / source, "-o", folder / program, *libs])
        check_run(folder / program, folder, environment)
    # The archive with the shared libraries it needs: Debian has no static ones of some of those.
    archive = next(prefix.rglob("libvow.a"))
    needs = shlex.split(run(["pkg-config", "--libs", *requires(prefix)]))
    run(
        [
            "gcc",
            "-std=c99",
            *strict,
            *cflags,
            folder / "consumer.c",
            "-o",
            folder / "pc_static",
            archive,
            *needs,
            "-pthread",
        ]
    )
    check_run(folder / "pc_static", folder, environment)


def by_find_package(folder, prefix, flags, environment):
    (folder / "CMakeLists.txt").write_text(PROJECT)
    run(
        [
            "cmake",
            "-S",
            folder,
            "-B",
            folder / "build",
            "-G",
            "Ninja",
            f"-DCMAKE_PREFIX_PATH={prefix}",
            f"-DCMAKE_C_FLAGS={shlex.join(flags)}",
            f"-DCMAKE_CXX_FLAGS={shlex.join(flags)}",
        ]
    )
    run(["ninja", "-C", folder / "build"])
    for program in ("shared", "static"):
        check_run(folder / "build" / program, folder, environment)


def check_headers(prefix):
    installed = {path.name for path in prefix.rglob("include/**/*.h")}
    if installed != HEADERS:
        raise RuntimeError(f"the headers are {sorted(installed)}, not {sorted(HEADERS)}")


def check(install, flags):
    """`install` puts the SDK under a prefix. Yields what is wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        try:
            install(folder / "staging")
            # What is installed may be moved: nothing in it knows where it was.
            prefix = folder / "moved"
            (folder / "staging").rename(prefix)
            for suffix in ("c", "cpp"):
                (folder / f"consumer.{suffix}").write_text(PROGRAM)
            library = next(prefix.rglob("libvow.so"))
            environment = {**os.environ, "LD_LIBRARY_PATH": str(library.parent)}
            check_headers(prefix)
            by_pkg_config(folder, prefix, flags, environment)
            by_find_package(folder, prefix, flags, environment)
        except (RuntimeError, StopIteration, OSError) as problem:
            yield repr(problem).replace("\\n", "\n")


def from_build(build):
    command = ["cmake", "--install", build, "--component", "sdk", "--prefix"]
    return lambda prefix: run([*command, prefix])


def self_test():
    """An installation that lacks everything is noticed."""
    if not list(check(lambda prefix: prefix.mkdir(), [])):
        yield "an empty installation was not noticed"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--self-test"]:
            failures = list(self_test())
        case [build, compiler_flags]:
            failures = list(check(from_build(build), shlex.split(compiler_flags)))
        case _:
            sys.exit(__doc__)
    print("\n".join(failures) or "installed and found")
    sys.exit(1 if failures else 0)
