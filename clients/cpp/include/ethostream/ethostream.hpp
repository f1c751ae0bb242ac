/// Client of ethostream: stream animal video, get keypoints and behavior probabilities back.
#pragma once

#include "ethostream/answers.hpp"
#include "ethostream/bundles.hpp"
#include "ethostream/client.hpp"
#include "ethostream/errors.hpp"
#include "ethostream/frame.hpp"
#include "ethostream/options.hpp"
#include "ethostream/session.hpp"
#include "ethostream/stream.hpp"
#include "ethostream/triggers.hpp"
#include "ethostream/video.hpp"
