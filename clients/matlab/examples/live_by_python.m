% Asks a server for the pose in each frame, one after the other, through the Python client:
%   pyenv('Version', 'PATH/TO/python') where `pip install ./clients/python` was run.
live = py.ethostream.dlclive.DLCLive('openfield-mouse', ...
    pyargs('server', '127.0.0.1:50051', 'convert2rgb', false)); % MATLAB's frames are RGB
video = VideoReader('mouse.mp4');
while hasFrame(video)
    pose = double(live.get_pose(py.numpy.array(readFrame(video)))); % K x 3: x, y px, confidence
    disp(pose);
end
live.close();
