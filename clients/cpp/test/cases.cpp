#include "cases.hpp"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <filesystem>

#include "server.hpp"

namespace {

constexpr std::size_t HEADER_BYTES = 5;  // a zero and the length, the highest byte first

std::vector<std::string> pieces(const std::string& path) {
  const std::string data = read_file(path);
  std::vector<std::string> found;
  for (std::size_t place = 0; place < data.size();) {
    std::size_t length = 0;
    for (std::size_t byte = 1; byte < HEADER_BYTES; ++byte) {
      length = length << 8 | static_cast<std::uint8_t>(data.at(place + byte));
    }
    found.push_back(data.substr(place + HEADER_BYTES, length));
    place += HEADER_BYTES + length;
  }
  return found;
}

std::vector<std::string> json_texts(const google::protobuf::Value& list) {
  std::vector<std::string> texts;
  for (const auto& one : list.list_value().values()) {
    const auto status = google::protobuf::util::MessageToJsonString(one, &texts.emplace_back());
    if (!status.ok()) {
      throw std::runtime_error(status.ToString());
    }
  }
  return texts;
}

std::string folder() { return in_repository("clients/testdata/cases"); }

}  // namespace

const google::protobuf::MethodDescriptor& Case::descriptor() const {
  std::string name = method;
  std::replace(name.begin(), name.end(), '/', '.');
  const auto* found = google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(name);
  if (found == nullptr) {
    throw std::runtime_error("no method " + name);
  }
  return *found;
}

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    if (entry.path().extension() == ".json") {
      names.push_back(entry.path().stem());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

Case read_case(const std::string& name) {
  const std::string stem = folder() + "/" + name;
  google::protobuf::Struct file;
  const auto status = google::protobuf::util::JsonStringToMessage(read_file(stem + ".json"), &file);
  if (!status.ok()) {
    throw std::runtime_error(stem + ": " + status.ToString());
  }
  const auto& fields = file.fields();
  return {fields.at("method").string_value(),  fields.at("status").string_value(),
          fields.at("message").string_value(), json_texts(fields.at("requests")),
          json_texts(fields.at("responses")),  pieces(stem + ".requests.bin"),
          pieces(stem + ".responses.bin")};
}

std::unique_ptr<google::protobuf::Message> made(const google::protobuf::Descriptor& type) {
  auto* factory = google::protobuf::MessageFactory::generated_factory();
  return std::unique_ptr<google::protobuf::Message>(factory->GetPrototype(&type)->New());
}

std::string serialized(const google::protobuf::Message& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream text(&bytes);
    google::protobuf::io::CodedOutputStream output(&text);
    output.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&output);
  }
  return bytes;
}
