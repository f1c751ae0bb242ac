% Uploads a video and gathers its keypoints and behaviors through the Python client.
client = py.ethostream.Client('127.0.0.1:50051');
bundles = py.list({'openfield-mouse', 'openfield-activity'});
results = client.analyze_all(pyargs('upload', 'mouse.mp4', 'bundles', bundles));
keypointsXy = double(results.poses{1}.keypoints_xy); % T x N x K x 2, px of the video's frame
confidence = double(results.poses{1}.confidence); % T x N x K
probabilities = double(results.behaviors{1}.probabilities); % T x C
client.close();
plot(keypointsXy(:, 1, 1, 1), keypointsXy(:, 1, 1, 2));
