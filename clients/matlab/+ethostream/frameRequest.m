function request = frameRequest(session, frameIndex, image, captureTimeNs)
% FRAMEREQUEST  JSON of an AnalyzeFrameRequest of ethostream.v1.InferenceService.
%   session        what sessionStart gives, for the first frame; then the sessionId of the answer
%   frameIndex     number of the frame from 0, greater than the last one
%   image          uint8, H x W (gray) or H x W x 3 (RGB); [] ends the session
%   captureTimeNs  int64, time of capture on the camera's clock; echoed
    request = struct();
    if isstruct(session)
        request.start = session;
    else
        request.session_id = session;
    end
    if isempty(image)
        request.end_session = true;
    else
        request.frame = describeFrame(frameIndex, image, captureTimeNs);
    end
    request = jsonencode(request);
end

function described = describeFrame(frameIndex, image, captureTimeNs)
    if ~isa(image, 'uint8') || ~any(size(image, 3) == [1, 3])
        error('ethostream:image', 'an image is uint8, H x W or H x W x 3; convert it');
    end
    encodings = {'FRAME_ENCODING_GRAY8', '', 'FRAME_ENCODING_RGB24'};
    bytes = permute(image, [3, 2, 1]); % channels of a pixel, pixels of a row, rows
    described = struct( ...
        'frame_index', sprintf('%d', frameIndex), ... % numbers of 64 bits are text in JSON
        'capture_time_ns', sprintf('%d', captureTimeNs), ...
        'encoding', encodings{size(image, 3)}, ...
        'width_px', size(image, 2), ...
        'height_px', size(image, 1), ...
        'data', matlab.net.base64encode(reshape(bytes, 1, [])));
end
