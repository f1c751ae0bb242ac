#include "ethostream/triggers.hpp"

#include "ethostream/v1/trigger.pb.h"

namespace ethostream {

namespace {

v1::KeypointReference keypoint_reference(const Keypoint& keypoint) {
  v1::KeypointReference reference;
  reference.set_bundle(keypoint.bundle);
  reference.set_keypoint(keypoint.name);
  reference.set_animal(keypoint.animal);
  if (keypoint.min_confidence) {
    reference.set_min_confidence(*keypoint.min_confidence);
  }
  reference.set_predicted(keypoint.predicted);
  return reference;
}

v1::ValueRange value_range(const ValueRange& asked) {
  v1::ValueRange range;
  if (asked.at_least) {
    range.set_at_least(*asked.at_least);
  }
  if (asked.at_most) {
    range.set_at_most(*asked.at_most);
  }
  return range;
}

void set_point(v1::Point& point, float x_px, float y_px) {
  point.set_x_px(x_px);
  point.set_y_px(y_px);
}

void add_conditions(v1::Conditions& all, const std::vector<Condition>& conditions) {
  for (const auto& one : conditions) {
    *all.add_conditions() = one.message();
  }
}

}  // namespace

Condition::Condition(v1::Condition message)
    : message_(std::make_shared<const v1::Condition>(std::move(message))) {}

Condition Condition::in_region(const Keypoint& keypoint, const Polygon& region) {
  v1::Condition condition;
  auto& asked = *condition.mutable_in_region();
  *asked.mutable_keypoint() = keypoint_reference(keypoint);
  auto& polygon = *asked.mutable_polygon();
  for (const auto& corner : region.corners) {
    set_point(*polygon.add_corners(), corner.x_px, corner.y_px);
  }
  return Condition(std::move(condition));
}

Condition Condition::in_region(const Keypoint& keypoint, const Circle& region) {
  v1::Condition condition;
  auto& asked = *condition.mutable_in_region();
  *asked.mutable_keypoint() = keypoint_reference(keypoint);
  set_point(*asked.mutable_circle()->mutable_center(), region.x_px, region.y_px);
  asked.mutable_circle()->set_radius_px(region.radius_px);
  return Condition(std::move(condition));
}

Condition Condition::distance(const Keypoint& first, const Keypoint& second, const ValueRange& px) {
  v1::Condition condition;
  auto& asked = *condition.mutable_distance();
  *asked.mutable_first() = keypoint_reference(first);
  *asked.mutable_second() = keypoint_reference(second);
  *asked.mutable_px() = value_range(px);
  return Condition(std::move(condition));
}

Condition Condition::angle(const Keypoint& first, const Keypoint& vertex, const Keypoint& second,
                           const ValueRange& deg) {
  v1::Condition condition;
  auto& asked = *condition.mutable_angle();
  *asked.mutable_first() = keypoint_reference(first);
  *asked.mutable_vertex() = keypoint_reference(vertex);
  *asked.mutable_second() = keypoint_reference(second);
  *asked.mutable_deg() = value_range(deg);
  return Condition(std::move(condition));
}

Condition Condition::speed(const Keypoint& keypoint, const ValueRange& px_per_s) {
  v1::Condition condition;
  auto& asked = *condition.mutable_speed();
  *asked.mutable_keypoint() = keypoint_reference(keypoint);
  *asked.mutable_px_per_s() = value_range(px_per_s);
  return Condition(std::move(condition));
}

Condition Condition::behavior(const std::string& behavior, const ValueRange& probability,
                              const std::string& bundle) {
  v1::Condition condition;
  auto& asked = *condition.mutable_behavior();
  asked.set_bundle(bundle);
  asked.set_behavior(behavior);
  *asked.mutable_probability() = value_range(probability);
  return Condition(std::move(condition));
}

Condition Condition::all_of(const std::vector<Condition>& conditions) {
  v1::Condition condition;
  add_conditions(*condition.mutable_all_of(), conditions);
  return Condition(std::move(condition));
}

Condition Condition::any_of(const std::vector<Condition>& conditions) {
  v1::Condition condition;
  add_conditions(*condition.mutable_any_of(), conditions);
  return Condition(std::move(condition));
}

Condition Condition::negation(const Condition& condition) {
  v1::Condition negated;
  *negated.mutable_negation() = condition.message();
  return Condition(std::move(negated));
}

}  // namespace ethostream
