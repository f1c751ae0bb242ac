/// The account of a live stream: what was taken, and the one answer that each frame gets.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "ethostream/answers.hpp"

namespace ethostream {

/// A behavior bundle of the stream.
struct BehaviorBundle {
  std::string name;
  std::uint32_t version = 0;
  std::vector<std::string> behaviors;
};

/// Gives each frame exactly one outcome and one result per behavior bundle, in frame order.
///
/// Functions that settle something return the answers that may be delivered now. Not safe for
/// several threads: its owner guards it.
class Ledger {
 public:
  LedgerCounts counts() const { return counts_; }

  /// Frames that the server owes an outcome: each holds one credit.
  std::size_t sent_in_flight() const { return sent_in_flight_; }

  /// Frames that wait for their outcome or for those before them.
  std::size_t size() const { return entries_.size(); }

  /// Says which behavior results each frame from now on is owed.
  void set_behavior_bundles(const std::vector<BehaviorBundle>& bundles);

  /// Names of a bundle's behaviors; empty where it is not of this stream.
  std::vector<std::string> behaviors_of(const std::string& name, std::uint32_t version) const;

  /// Takes a frame that goes to the server; numbers only grow.
  void send(std::uint64_t frame_index, std::int64_t capture_time_ns);

  /// Takes a frame and leaves it out here, because all credits are in use.
  std::vector<Answer> skip(std::uint64_t frame_index, std::int64_t capture_time_ns);

  /// Time since a frame was sent, ns; 0 for an unknown one.
  std::int64_t round_trip_ns(std::uint64_t frame_index) const;

  /// Takes the server's outcome of a frame.
  std::vector<Answer> settle(FrameOutcome outcome);

  /// Takes the server's behavior result of a frame.
  std::vector<Answer> settle_behavior(BehaviorResult result);

  /// Closes all that is open: frames as error `lost`, behavior results without an answer.
  std::vector<Answer> close(const std::string& message);

 private:
  struct Entry {
    std::uint64_t frame_index;
    std::int64_t capture_time_ns;
    std::chrono::steady_clock::time_point sent;
    std::optional<FrameOutcome> outcome;
  };
  struct Owed {
    std::uint64_t frame_index;
    std::int64_t capture_time_ns;
    bool is_sent;
  };
  struct Account {
    BehaviorBundle bundle;
    std::deque<Owed> owed;
  };

  Entry& take(std::uint64_t frame_index, std::int64_t capture_time_ns, bool is_sent);
  Entry* find(std::uint64_t frame_index);
  const Entry* find(std::uint64_t frame_index) const;
  std::vector<Answer> deliver();
  void count(const FrameOutcome& outcome);

  LedgerCounts counts_;
  std::size_t sent_in_flight_ = 0;
  std::deque<Entry> entries_;  // in the order of the frames
  std::vector<Account> accounts_;
};

}  // namespace ethostream
