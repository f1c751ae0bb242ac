function answer = readAnswer(response)
% READANSWER  What the JSON of an AnalyzeFrameResponse says, as a struct:
%   sessionId       for the next frameRequest
%   kind            'result', 'skipped', 'error' or '' (a call without a frame)
%   reason          of an error or a skip; message says what to do
%   keypointsXy     cell array, one N x K x 2 a pose bundle, px of the frame as sent
%   confidence      cell array, one N x K a pose bundle, in [0, 1]
%   behaviors       struct array: bundle, frameIndex, status, probabilities (1 x C), present (1 x C)
    response = jsondecode(response);
    answer = struct('sessionId', response.session_id, 'kind', '', 'reason', '', 'message', '');
    answer.keypointsXy = {};
    answer.confidence = {};
    answer.behaviors = struct( ...
        'bundle', {}, 'frameIndex', {}, 'status', {}, 'probabilities', {}, 'present', {});
    outcome = field(response, 'outcome', struct());
    if isfield(outcome, 'result')
        answer.kind = 'result';
        for pose = each(field(outcome.result, 'poses', []))
            [answer.keypointsXy{end + 1}, answer.confidence{end + 1}] = readPoses(pose{1});
        end
    elseif isfield(outcome, 'skipped')
        answer.kind = 'skipped';
        answer.reason = field(outcome.skipped, 'reason', '');
    elseif isfield(outcome, 'error')
        answer.kind = 'error';
        answer.reason = field(outcome.error, 'code', '');
        answer.message = field(outcome.error, 'message', '');
    end
    for one = each(field(response, 'behaviors', []))
        result = one{1};
        answer.behaviors(end + 1) = struct( ...
            'bundle', result.bundle.name, ...
            'frameIndex', str2double(field(result, 'frame_index', '0')), ...
            'status', result.status, ...
            'probabilities', reshape(field(result, 'probabilities', []), 1, []), ...
            'present', logical(reshape(field(result, 'present', []), 1, [])));
    end
end

function [keypointsXy, confidence] = readPoses(found)
    animals = each(field(found, 'poses', []));
    keypointsXy = [];
    confidence = [];
    for n = 1:numel(animals)
        keypointsXy(n, :, 1) = animals{n}.x_px;
        keypointsXy(n, :, 2) = animals{n}.y_px;
        confidence(n, :) = animals{n}.confidence;
    end
end

function value = field(from, name, default)
% What is 0, '' or empty may be left out of JSON.
    value = default;
    if isfield(from, name)
        value = from.(name);
    end
end

function values = each(list)
% A list of objects as a row of cells; jsondecode gives structs where all have the same fields.
    if iscell(list)
        values = reshape(list, 1, []);
    elseif isempty(list)
        values = {};
    else
        values = reshape(num2cell(list), 1, []);
    end
end
