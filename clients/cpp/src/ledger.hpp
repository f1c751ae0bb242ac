/// The account of a live stream: what was taken, and the one answer that each frame gets.
///
/// The frames of encoded chunks are taken as they turn up: with a chunk's acknowledgement, which
/// says how many were decoded, or with their first answer. The server counts them from 0 on each
/// connection; the numbers given here go on.
#pragma once

#include <algorithm>
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

  /// Frames or chunks, whichever are more, that the server owes an answer: credits in use.
  std::size_t in_flight() const { return std::max(sent_in_flight_, chunks_.size()); }

  /// Frames that wait for their outcome or for those before them.
  std::size_t size() const { return entries_.size(); }

  /// Says which behavior results each frame from now on is owed.
  void set_behavior_bundles(const std::vector<BehaviorBundle>& bundles);

  /// Names of a bundle's behaviors; empty where it is not of this stream.
  std::vector<std::string> behaviors_of(const std::string& name, std::uint32_t version) const;

  /// Takes a frame that goes to the server; numbers only grow.
  void send(std::uint64_t frame_index, std::int64_t capture_time_ns);

  /// Takes a chunk that goes to the server; numbers only grow.
  void send_chunk(std::uint64_t chunk_index, std::int64_t capture_time_ns);

  /// Takes the server's acknowledgement of a chunk, and the frames that came out of it.
  std::vector<Answer> acknowledge(ChunkAcknowledgement answer);

  /// The client's number of a frame that the server names; a decoded one may be new here.
  std::uint64_t number(std::uint64_t frame_index, std::int64_t capture_time_ns);

  /// Takes a frame and leaves it out here, because all credits are in use.
  std::vector<Answer> skip(std::uint64_t frame_index, std::int64_t capture_time_ns);

  /// Time since a frame was sent, ns; 0 for an unknown one.
  std::int64_t round_trip_ns(std::uint64_t frame_index) const;

  /// Takes the server's outcome of a frame.
  std::vector<Answer> settle(FrameOutcome outcome);

  /// Takes the server's behavior result of a frame.
  std::vector<Answer> settle_behavior(BehaviorResult result);

  /// Closes all that is open: frames and chunks as lost, behavior results without an answer.
  std::vector<Answer> close(const std::string& message);

 private:
  using Time = std::chrono::steady_clock::time_point;

  struct Entry {
    std::uint64_t frame_index;
    std::int64_t capture_time_ns;
    Time sent;
    std::optional<FrameOutcome> outcome;
  };
  struct Chunk {
    std::uint64_t chunk_index;
    std::int64_t capture_time_ns;
    Time sent;
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

  /// Takes the decoded frames before number `end` that are not known yet.
  void turn_up(std::uint64_t end, std::int64_t capture_time_ns, Time sent);
  Entry& take(std::uint64_t frame_index, std::int64_t capture_time_ns, bool is_sent,
              Time sent = std::chrono::steady_clock::now());
  Entry* find(std::uint64_t frame_index);
  const Entry* find(std::uint64_t frame_index) const;
  std::vector<Answer> deliver();
  void count(const FrameOutcome& outcome);

  LedgerCounts counts_;
  std::size_t sent_in_flight_ = 0;
  std::deque<Entry> entries_;  // in the order of the frames
  std::vector<Account> accounts_;

  std::deque<Chunk> chunks_;     // that wait for their acknowledgement, in order
  Time newest_sent_;             // when the newest chunk that was acknowledged was sent
  std::uint64_t first_ = 0;      // number of the first decoded frame of this connection
  std::uint64_t announced_ = 0;  // decoded frames below are known by acknowledgements
  std::uint64_t next_ = 0;       // number of the decoded frame that turns up next
};

}  // namespace ethostream
