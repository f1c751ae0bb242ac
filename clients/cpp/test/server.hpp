/// Real servers in processes of their own, on free loopback ports.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

/// A folder that is removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();

  std::string operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// The Python that servers and other programs of the checkout run in.
std::string python();

/// Path of a file of the checkout.
std::string in_repository(const std::string& path);

std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& content);

/// `ethostream serve` with the bundles of the test vectors, in fp32: the same numbers every time.
class Server {
 public:
  /// Starts it and waits until its bundles are loaded.
  explicit Server(const std::vector<std::string>& more = {},
                  const std::string& listen = "127.0.0.1:0");
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();

  const std::string& address() const { return address_; }

  /// Sends a signal, such as SIGSTOP, without waiting for what comes of it.
  void signal(int number) const;

  /// Ends it; by default it may answer what it accepted.
  void stop(int number = SIGTERM);

 private:
  bool has_ended(int options);

  TemporaryFolder folder_;
  pid_t process_ = 0;
  std::string address_;
};
