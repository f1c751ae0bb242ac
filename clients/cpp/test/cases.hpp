/// The recorded calls of clients/testdata, in both of their forms.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

struct Case {
  /// Such as ethostream.v1.ModelService/GetModel.
  std::string method;
  std::string status;
  std::string message;
  /// One JSON text each.
  std::vector<std::string> json_requests;
  std::vector<std::string> json_responses;
  /// One message each.
  std::vector<std::string> requests;
  std::vector<std::string> responses;

  const google::protobuf::MethodDescriptor& descriptor() const;
};

/// Names of all cases.
std::vector<std::string> case_names();

Case read_case(const std::string& name);

/// A message of a type that only its descriptor tells.
std::unique_ptr<google::protobuf::Message> made(const google::protobuf::Descriptor& type);

/// Always the same bytes for the same message.
std::string serialized(const google::protobuf::Message& message);

template <typename Message>
std::vector<Message> parsed(const std::vector<std::string>& pieces) {
  std::vector<Message> messages(pieces.size());
  for (std::size_t place = 0; place < pieces.size(); ++place) {
    if (!messages[place].ParseFromString(pieces[place])) {
      throw std::runtime_error("a recorded message cannot be read");
    }
  }
  return messages;
}
