/// Videos that broke off or are damaged, and bouts, on a real server.
#include <gtest/gtest.h>

#include "cases.hpp"
#include "ethostream/ethostream.hpp"
#include "ethostream/v1/inference_service.pb.h"
#include "made.hpp"
#include "server.hpp"

namespace {

class Video : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<Server>(); }
  static void TearDownTestSuite() { server_.reset(); }

  void SetUp() override {
    std::string video;
    for (const auto& one :
         parsed<ethostream::v1::UploadVideoRequest>(read_case("upload").requests)) {
      video += one.data();
    }
    write_file(intact_, video);
    video[video.size() / 2] ^= '\xff';  // the checksum of one picture tells
    write_file(damaged_, video);
  }

  static std::unique_ptr<Server> server_;
  const TemporaryFolder folder_;
  const std::string intact_ = folder_ / "intact.mkv";
  const std::string damaged_ = folder_ / "damaged.mkv";
  ethostream::Client client_{server_->address()};
};

std::unique_ptr<Server> Video::server_;

TEST_F(Video, that_broke_off_goes_on_with_the_rows_that_are_missing) {
  const ethostream::Upload upload = client_.upload_video(intact_);
  const ethostream::UploadedVideo video{upload.upload_id};
  const auto whole = client_.analyze_video(video, BUNDLES).gather().rows;
  ethostream::AnalysisOptions options;
  options.resume_frame = 7;
  const auto rest = client_.analyze_video(video, BUNDLES, options).gather().rows;
  EXPECT_EQ(rest.frame_index, (std::vector<std::uint64_t>{7, 8, 9, 10, 11}));
  const auto& x_px = whole.poses.at(0).x_px;
  EXPECT_EQ(rest.poses.at(0).x_px, std::vector<float>(x_px.begin() + 7 * 4, x_px.end()));
  const auto& status = whole.behaviors.at(0).status;
  EXPECT_EQ(rest.behaviors.at(0).status,
            std::vector<ethostream::BehaviorStatus>(status.begin() + 7, status.end()));
  options.dynamic_crop = ethostream::DynamicCrop{};
  EXPECT_THROW(client_.analyze_video(video, BUNDLES, options).gather(), ethostream::InvalidRequest);
}

TEST_F(Video, that_is_damaged_tells_why_a_frame_has_no_pixels) {
  const auto results =
      client_.analyze_video(ethostream::LocalVideo{damaged_}, "vector-points").gather();
  const auto& rows = results.rows;
  ASSERT_EQ(rows.frame_index, numbers_below(12));
  ASSERT_GE(rows.faults.size(), 1U);
  for (const auto& one : rows.faults) {
    EXPECT_EQ(one.status, ethostream::FrameStatus::corrupt);
    EXPECT_EQ(one.status, rows.status.at(one.frame_index));
    EXPECT_FALSE(one.reason.empty());
  }
  EXPECT_EQ(results.finished.frames_failed, rows.faults.size());
  EXPECT_EQ(results.finished.frames_corrupt, rows.faults.size());
  EXPECT_EQ(results.finished.frames_missing + results.finished.frames_repeated, 0U);
  EXPECT_FALSE(results.finished.message.empty());
}

TEST_F(Video, tells_the_recorded_bouts) {
  std::vector<ethostream::v1::BoutEvent> recorded;
  for (const auto& one :
       parsed<ethostream::v1::AnalyzeVideoResponse>(read_case("video").responses)) {
    for (const auto& columns : one.chunk().behaviors()) {
      recorded.insert(recorded.end(), columns.bouts().begin(), columns.bouts().end());
    }
  }
  ASSERT_GT(recorded.size(), 0U);
  ethostream::BundleSelection motion = "vector-motion";
  motion.bout_events = true;
  ethostream::AnalysisOptions options;
  options.frames_per_chunk = 5;
  const ethostream::LocalVideo video{intact_};
  const auto rows = client_.analyze_video(video, {"vector-points", motion}, options).gather().rows;
  const auto& bouts = rows.behaviors.at(0).bouts;
  ASSERT_EQ(bouts.size(), recorded.size());
  for (std::size_t place = 0; place < bouts.size(); ++place) {
    EXPECT_EQ(bouts[place].behavior, recorded[place].behavior());
    EXPECT_EQ(bouts[place].frame_index, recorded[place].frame_index());
    EXPECT_EQ(bouts[place].kind == ethostream::BoutKind::onset,
              recorded[place].kind() == ethostream::v1::BOUT_EVENT_KIND_ONSET);
  }
}

}  // namespace
