/// Limits, rights and models of real servers, with the status that tells each.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <future>

#include "ethostream/ethostream.hpp"
#include "made.hpp"
#include "server.hpp"

namespace {

using ethostream::Client;
using ethostream::NotFound;
using ethostream::Overloaded;
using ethostream::PermissionDenied;
using ethostream::Pixels;

/// What an error of a class says.
template <typename Error, typename Act>
std::string words_of(const Act& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

void expect_holds(const std::string& text, const std::string& words) {
  EXPECT_NE(text.find(words), std::string::npos) << text;
}

TEST(Limits, of_the_server_are_told_with_their_status) {
  const TemporaryFolder folder;
  write_file(folder / "service.toml",
             "[server]\nmax_message_mib = 1\nmax_streams = 2\n[session]\nmax_width_px = 640\n"
             "[video]\nmax_upload_mib = 1\n");
  const Server server({"--config", folder / "service.toml"});
  const Client client(server.address());

  ethostream::Stream wide = client.stream("vector-points");
  wide.send(Pixels(std::vector<std::uint8_t>(641 * 8), 641, 8));
  wide.finish();
  const auto outcome = read_all(wide).outcomes.at(0);
  EXPECT_EQ(outcome.kind, ethostream::OutcomeKind::error);
  EXPECT_EQ(outcome.reason, "too_large");
  expect_holds(outcome.message, "641");

  ethostream::StreamOptions once;
  once.reconnect = false;
  ethostream::Stream large = client.stream("vector-points", once);
  large.send(Pixels(std::vector<std::uint8_t>(1200 * 1000), 1200, 1000));
  expect_holds(words_of<Overloaded>([&] { large.finish(); }), "larger than max");
  EXPECT_EQ(client.models().size(), 2U);

  write_file(folder / "large.mkv", std::string(2 << 20, '\0'));
  expect_holds(words_of<Overloaded>([&] { client.upload_video(folder / "large.mkv"); }),
               "this server takes at most");
  expect_holds(
      words_of<ethostream::InvalidRequest>([&] { client.upload_video(folder / "no.mkv"); }),
      "no.mkv");

  ethostream::Stream first = client.stream("vector-points");
  ethostream::Stream second = client.stream("vector-points");
  first.open();
  second.open();
  expect_holds(words_of<Overloaded>([&] { client.stream("vector-points").open(); }),
               "2 streams are open");
  first.finish();
  second.finish();
}

TEST(Models, are_unloaded_loaded_and_watched) {
  const Server server;
  const Client client(server.address());
  std::vector<std::string> seen;
  std::promise<void> began;
  auto watching = std::async(std::launch::async, [&] {
    int ready = 0;
    client.watch([&](const ethostream::BundleInfo& info) {
      seen.push_back(info.name + " " + info.state);
      if (seen.size() == 2) {
        began.set_value();
      }
      ready += seen.back() == "vector-points ready" ? 1 : 0;
      return ready < 2;
    });
  });
  began.get_future().wait();
  const auto unloaded = client.unload("vector-points@1");
  EXPECT_EQ(unloaded.at(0).state, "available");
  EXPECT_THROW(client.stream("vector-points").open(), NotFound);
  EXPECT_EQ(client.load("vector-points").state, "ready");
  watching.get();
  EXPECT_NE(std::find(seen.begin(), seen.end(), "vector-points loading"), seen.end());
  EXPECT_THROW(client.load("cat"), NotFound);
  EXPECT_THROW(client.analyze_video(ethostream::ServerVideo{"/etc/hostname"}, BUNDLES).open(),
               PermissionDenied);
  EXPECT_THROW(client.analyze_video(ethostream::UploadedVideo{"none"}, BUNDLES).gather(), NotFound);
}

TEST(Rights, come_with_a_token_over_tls) {
  const TemporaryFolder folder;
  const std::string certificate = folder / "server.pem";
  const std::string key = folder / "server.key";
  const std::string command =
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
      " -subj '/CN=ethostream test' -addext subjectAltName=IP:127.0.0.1"
      " -keyout " +
      key + " -out " + certificate + " 2>/dev/null";
  ASSERT_EQ(std::system(command.c_str()), 0) << "openssl is needed";
  write_file(folder / "tokens.toml",
             "[rig]\ntoken = \"rig-token-0123456789\"\nscopes = [\"infer\"]\n");
  const Server server(
      {"--tls-certificate", certificate, "--tls-key", key, "--token-file", folder / "tokens.toml"});
  ethostream::ClientOptions options;
  options.token = "rig-token-0123456789";
  const Client plain(server.address(), options);
  options.tls = ethostream::TlsOptions{};
  options.tls->root_certificate = certificate;
  const Client rig(server.address(), options);
  options.token = "stranger-0123456789";
  const Client stranger(server.address(), options);
  options.token.clear();
  const Client nobody(server.address(), options);

  ethostream::Stream stream = rig.stream(BUNDLES);
  stream.send(FRAME.image());
  EXPECT_EQ(stream.finish().results, 1U);
  expect_holds(words_of<PermissionDenied>([&] { rig.unload("vector-points"); }), "needs models");
  EXPECT_THROW(stranger.stream(BUNDLES).open(), ethostream::Unauthenticated);
  EXPECT_THROW(nobody.models(), ethostream::Unauthenticated);
  EXPECT_THROW(plain.models(), ethostream::Unavailable);
}

}  // namespace
