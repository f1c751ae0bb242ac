% Asks a server about the frames of a video, a call each, without Python: the server describes its
% calls by reflection. Needs National Instruments' toolbox "grpc-json-client-matlab".
address = 'localhost:50051';
timeoutMs = 60000;
client = nigrpcjsonclient.Session(address);
session = ethostream.sessionStart({'openfield-mouse'}, 0);
video = VideoReader('mouse.mp4');
frameIndex = 0;
while hasFrame(video)
    request = ethostream.frameRequest(session, frameIndex, readFrame(video), int64(0));
    response = client.blockingcall( ...
        'ethostream.v1.InferenceService', 'AnalyzeFrame', request, timeoutMs);
    answer = ethostream.readAnswer(response);
    if strcmp(answer.kind, 'result')
        fprintf('frame %d: %s\n', frameIndex, mat2str(squeeze(answer.keypointsXy{1}(1, :, :)), 4));
    end
    session = answer.sessionId;
    frameIndex = frameIndex + 1;
end
client.blockingcall('ethostream.v1.InferenceService', 'AnalyzeFrame', ...
    ethostream.frameRequest(session, frameIndex, [], int64(0)), timeoutMs);
