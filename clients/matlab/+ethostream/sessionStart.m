function start = sessionStart(bundles, frameRateHz)
% SESSIONSTART  How a session is to be run, for the first frameRequest.
%   bundles      cell array of names, such as {'openfield-mouse', 'openfield-activity'}
%   frameRateHz  rate of the camera; 0 = the behavior bundles' own
    selections = cell(1, numel(bundles));
    for place = 1:numel(bundles)
        selections{place} = struct('bundle', struct('name', bundles{place}));
    end
    start = struct('bundles', {selections}, 'frame_rate_hz', frameRateHz);
end
