//! Random shapes and values, from a counter-based generator: the same in every run.

use super::reference::Shape;
use ninc::recipes::Window;
use ninc_runtime::philox::Stream;

pub struct Draw(Stream);

impl Draw {
    pub fn new(purpose: u32) -> Draw {
        Draw(Stream::new(2013, purpose, 0))
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound as u32) as usize
    }

    pub fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.0.normal()).collect()
    }

    fn pick(&mut self, from: &[usize]) -> usize {
        from[self.below(from.len())]
    }

    /// A convolution; every third is ordinary, the others have something awkward.
    pub fn shape(&mut self, case: usize) -> Shape {
        loop {
            let awkward = case % 3 != 0;
            let kernel = [self.pick(&[1, 2, 3, 5]), self.pick(&[1, 2, 3, 5])];
            let mut s = Shape {
                batch: self.pick(&[0, 1, 2, 3]),
                channels: 1 + self.below(12),
                image: [1 + self.below(11), 1 + self.below(11)],
                outputs: 1 + self.below(20),
                window: Window {
                    kernel,
                    stride: [1, 1],
                    pad: [self.below(kernel[0]), self.below(kernel[1])],
                    dilation: [1, 1],
                },
                groups: 1,
            };
            match self.below(8) {
                // A stride, perhaps above the kernel.
                0 if awkward => s.window.stride = [1 + self.below(7), 1 + self.below(7)],
                1 if awkward => s.window.dilation = [1 + self.below(3), 1 + self.below(3)],
                // Windows that lie in the padding.
                2 if awkward => s.window.pad = [kernel[0] + self.below(2), kernel[1] + self.below(2)],
                3 if awkward => {
                    s.groups = 2 + self.below(3);
                    s.channels = s.groups * (1 + self.below(4));
                    s.outputs = s.groups * (1 + self.below(6));
                }
                // Depthwise, vectors along the channels.
                4 if awkward => {
                    s.groups = 2 + self.below(40);
                    (s.channels, s.outputs) = (s.groups, s.groups);
                    s.window.stride = [1 + self.below(2); 2];
                }
                5 if awkward => (s.channels, s.outputs) = (1, self.pick(&[1, 7, 64])),
                6 if awkward => {
                    s.image = [1, 1];
                    s.window.stride = [1 + self.below(3); 2];
                }
                7 if awkward => {
                    s.window.stride = [1 + self.below(4), 1 + self.below(4)];
                    s.window.dilation = [1 + self.below(4), 1 + self.below(4)];
                    s.window.pad = [self.below(4), self.below(4)];
                }
                _ => {}
            }
            if s.is_valid() {
                return s;
            }
        }
    }

    /// A linear layer, as a 1x1 convolution of a 1x1 image.
    pub fn linear(&mut self, case: usize) -> Shape {
        let sizes = [1, 2, 3, 7, 16, 31, 64, 100, 129];
        let window = Window { kernel: [1, 1], stride: [1, 1], pad: [0, 0], dilation: [1, 1] };
        Shape {
            batch: [0, 1, 2, 5, 17, 70][case % 6],
            channels: self.pick(&sizes),
            image: [1, 1],
            outputs: self.pick(&sizes),
            window,
            groups: 1,
        }
    }
}
