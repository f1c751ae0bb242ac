#include "server.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fcntl.h>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

extern char** environ;

namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds START_TIME{240};  // of a machine that has much else to do
constexpr std::chrono::seconds STOP_TIME{120};
constexpr std::chrono::milliseconds LOOK_EVERY{50};

pid_t spawn(std::vector<std::string> command, const std::string& log) {
  std::vector<char*> arguments;
  for (auto& one : command) {
    arguments.push_back(one.data());
  }
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  pid_t process = 0;
  const int failed =
      posix_spawn(&process, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) {
    throw std::runtime_error("cannot start " + command[0] + "; set ETHOSTREAM_PYTHON");
  }
  return process;
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string name = std::filesystem::temp_directory_path() / "ethostream-cpp-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) {
    throw std::runtime_error("cannot make " + name);
  }
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string python() {
  const char* named = std::getenv("ETHOSTREAM_PYTHON");
  return named != nullptr ? named : in_repository(".venv/bin/python");
}

std::string in_repository(const std::string& path) { return std::string(REPOSITORY "/") + path; }

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw std::runtime_error("cannot read " + path);
  }
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void write_file(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

Server::Server(const std::vector<std::string>& more, const std::string& listen) {
  const std::string log = folder_ / "log";
  const std::string port = folder_ / "port";
  std::vector<std::string> command = {
      python(),      "-m",          "ethostream.commands",
      "serve",       "--models",    in_repository("clients/testdata/models"),
      "--engine",    "onnxruntime", "--precision",
      "fp32",        "--listen",    listen,
      "--port-file", port};
  command.insert(command.end(), more.begin(), more.end());
  process_ = spawn(command, log);
  const auto began = steady_clock::now();
  while (!std::filesystem::exists(port)) {
    if (has_ended(WNOHANG) || steady_clock::now() - began > START_TIME) {
      stop(SIGKILL);
      throw std::runtime_error("the server did not start:\n" + read_file(log));
    }
    std::this_thread::sleep_for(LOOK_EVERY);
  }
  address_ = "127.0.0.1:" + std::to_string(std::stoi(read_file(port)));
}

Server::~Server() {
  if (process_ != 0) {
    signal(SIGCONT);
    stop(SIGKILL);
  }
}

void Server::signal(int number) const { kill(process_, number); }

void Server::stop(int number) {
  if (process_ == 0) {
    return;
  }
  signal(number);
  for (const auto began = steady_clock::now(); !has_ended(WNOHANG);) {
    if (steady_clock::now() - began > STOP_TIME) {
      signal(SIGKILL);
      has_ended(0);
      throw std::runtime_error("the server did not stop:\n" + read_file(folder_ / "log"));
    }
    std::this_thread::sleep_for(LOOK_EVERY);
  }
}

bool Server::has_ended(int options) {
  if (process_ != 0 && waitpid(process_, nullptr, options) == process_) {
    process_ = 0;
  }
  return process_ == 0;
}
