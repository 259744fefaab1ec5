//! Plans from seeds. The generator keeps a model of the tree, so that most steps make sense; some
//! deliberately do not.

use super::place::{OPEN, ROUTE};
use super::plan::{Answer, Fate, Forgery, OF_ITS_OWN, Reader, Step, Wire};
use super::rng::Rng;
use offshoot_proto::wire::Kind;

/// Shape of a tree.
#[derive(Clone, Copy)]
enum Shape {
    Chain,
    Star,
    Random,
    Caterpillar,
}

struct Drawing {
    rng: Rng,
    plan: Vec<Step>,
    /// Every context that was ordered, with its parent; the root is its own parent.
    tree: Vec<(u32, u32)>,
    next: u32,
    hostile: Vec<u32>,
    requests: u32,
}

/// Returns true if a forged frame is forwarded and carries bytes.
fn up_and_on(frame: &Forgery) -> bool {
    Kind::ALL
        .get(usize::from(frame.kind))
        .is_some_and(|kind| !kind.is_link_local())
}

/// Returns the plan of a seed.
pub(crate) fn plan(seed: u64) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let shape = rng.pick(&[
        Shape::Chain,
        Shape::Star,
        Shape::Random,
        Shape::Random,
        Shape::Caterpillar,
    ]);
    let size = rng.between(1, 20);
    let steps = rng.between(20, 300);
    let hostility = rng.pick(&[0, 0, 10, 25]);
    let mut drawing = Drawing {
        rng,
        plan: Vec::new(),
        tree: vec![(0, 0)],
        next: 1,
        hostile: Vec::new(),
        requests: 0,
    };
    let breath = drawing.rng.percent(30);
    for _ in 0..size {
        drawing.connect(shape, hostility);
        if !breath {
            drawing.wait(30);
        }
    }
    for _ in 0..steps {
        drawing.step(shape, hostility);
    }
    drawing.plan
}

impl Drawing {
    fn anyone(&mut self) -> u32 {
        let at = self.rng.below(self.tree.len() as u64) as usize;
        self.tree[at].0
    }

    fn parent(&self, id: u32) -> u32 {
        self.tree
            .iter()
            .find(|(other, _)| *other == id)
            .map_or(0, |(_, parent)| *parent)
    }

    /// Returns an ancestor of `id`, usually the root.
    fn above(&mut self, id: u32) -> u32 {
        if self.rng.percent(60) {
            return 0;
        }
        let mut at = id;
        while at != 0 && !self.rng.percent(40) {
            at = self.parent(at);
        }
        at
    }

    /// Removes a context and its descendants from the model. Some are remembered, to be called
    /// although they are gone.
    fn fell(&mut self, id: u32) {
        let mut gone = vec![id];
        for (child, parent) in &self.tree {
            if *child != 0 && gone.contains(parent) {
                gone.push(*child);
            }
        }
        if self.rng.percent(85) {
            self.tree
                .retain(|(other, _)| *other == 0 || !gone.contains(other));
            self.hostile.retain(|other| !gone.contains(other));
        }
    }

    fn wait(&mut self, most: u64) {
        let ms = self.rng.below(most) as u32;
        self.plan.push(Step::Wait { ms });
    }

    fn wire(&mut self) -> Wire {
        match self.rng.below(10) {
            0..6 => Wire::NEAR,
            6 => Wire {
                latency_us: 30_000,
                us_per_kib: 20,
                capacity: 65_536,
            },
            7 => Wire {
                latency_us: 1000,
                us_per_kib: 1000,
                capacity: 65_536,
            },
            8 => Wire {
                latency_us: 5000,
                us_per_kib: 100,
                capacity: 4096,
            },
            _ => Wire {
                latency_us: 100,
                us_per_kib: 5,
                capacity: 3777,
            },
        }
    }

    fn connect(&mut self, shape: Shape, hostility: u64) {
        let last = self.tree[self.tree.len() - 1];
        let parent = match shape {
            Shape::Chain => last.0,
            Shape::Star => 0,
            Shape::Random => self.anyone(),
            Shape::Caterpillar if self.rng.percent(50) => last.0,
            Shape::Caterpillar => last.1,
        };
        let child = self.next;
        self.next += 1;
        let ms = self.rng.below(40) as u32;
        let fate = match self.rng.below(20) {
            0..2 => Fate::Fails { ms },
            2 => Fate::Hangs,
            3..5 => Fate::Again {
                ms,
                then_ms: self.rng.below(40) as u32,
            },
            _ => Fate::Up { ms },
        };
        let by = self.above(parent);
        let hostile = self.rng.percent(hostility);
        if !matches!(fate, Fate::Fails { .. } | Fate::Hangs) || self.rng.percent(30) {
            self.tree.push((child, parent));
        }
        if hostile {
            self.hostile.push(child);
        }
        self.requests += 1;
        let wire = self.wire();
        self.plan.push(Step::Connect {
            by,
            parent,
            child,
            fate,
            wire,
            hostile,
        });
    }

    fn size(&mut self) -> u32 {
        let most = match self.rng.below(20) {
            0 => {
                if self.rng.percent(20) {
                    200_000
                } else {
                    9000
                }
            }
            1..4 => 3000,
            _ => 300,
        };
        self.rng.below(most) as u32 + 8
    }

    fn pair(&mut self) -> (u32, u32) {
        let to = self.anyone();
        let from = if self.rng.percent(85) {
            self.above(to)
        } else {
            self.anyone()
        };
        (from, to)
    }

    fn call(&mut self) {
        let (from, mut to) = self.pair();
        if self.rng.percent(2) {
            to = 4_000_000;
        }
        let (size, ms) = (self.size(), self.rng.below(50) as u32);
        let answer = match self.rng.below(20) {
            0 => Answer::Silent,
            1..3 => Answer::Refuse { ms },
            _ => Answer::Reply {
                ms,
                size: self.size(),
            },
        };
        self.requests += 1;
        self.plan.push(Step::Call {
            from,
            to,
            size,
            answer,
        });
    }

    fn visit(&mut self, from: u32, to: u32) {
        let (size, ms) = (self.size(), self.rng.below(50) as u32);
        let answer = if self.rng.percent(15) {
            Answer::Silent
        } else {
            Answer::Reply {
                ms,
                size: self.size(),
            }
        };
        self.requests += 1;
        self.plan.push(Step::Visit {
            from,
            to,
            size,
            answer,
        });
    }

    fn stream(&mut self) {
        let (from, to) = self.pair();
        let size = if self.rng.percent(2) {
            self.rng.below(1_000_000)
        } else {
            self.rng.below(20_000)
        } as u32;
        let reader = match self.rng.below(10) {
            0 => Reader::Stops {
                after: self.rng.below(u64::from(size) + 1) as u32,
            },
            1..4 => Reader::Slow {
                per_ms: self.rng.between(500, 20_000) as u32,
            },
            _ => Reader::Fast,
        };
        self.requests += 1;
        let up = self.rng.percent(50);
        self.plan.push(Step::Stream {
            from,
            to,
            size,
            up,
            reader,
        });
    }

    fn forge(&mut self) {
        let Some(at) = (!self.hostile.is_empty()).then(|| self.rng.pick(&self.hostile)) else {
            return;
        };
        let someone = |drawing: &mut Self| match drawing.rng.below(8) {
            0..3 => at,
            3 => 0,
            4 => drawing.next + drawing.rng.below(3) as u32,
            _ => drawing.anyone(),
        };
        let handle = |drawing: &mut Self| match drawing.rng.below(3) {
            0 => drawing.rng.below(8) as u32,
            _ => 1000 + drawing.rng.below(u64::from(drawing.requests) * 2 + 2) as u32,
        };
        let kind = self.rng.below(Kind::ALL.len() as u64) as u8;
        let mut frame = Forgery {
            kind,
            flags: self.rng.below(16) as u16,
            dst: someone(self),
            src: someone(self),
            auth: someone(self),
            handle: handle(self),
            reply_to: handle(self),
            streams: self.rng.pick(&[0, 0, 0, 1, 9]),
            answering: self.rng.below(4) as u8,
            offset: self
                .rng
                .pick(&[0, 8, 100, u64::MAX, 262_144, OF_ITS_OWN + 3]),
            size: self.rng.pick(&[0, 8, 64, 5000]),
        };
        if self.rng.percent(60) {
            // Like an honest frame, except for the changes below.
            (frame.src, frame.auth, frame.dst, frame.flags) = (at, at, self.parent(at), 1);
            (frame.offset, frame.size) = (self.rng.pick(&[0, 0, 8]), 64);
            match self.rng.below(7) {
                6 => {
                    // A connect request for a context that another may be connecting.
                    (frame.kind, frame.handle) = (OPEN, 2);
                    (frame.dst, frame.offset) = (someone(self), u64::from(someone(self)));
                }
                0 => frame.src = someone(self),
                1 => frame.auth = someone(self),
                2 => (frame.src, frame.auth) = (0, 0),
                3 => (frame.dst, frame.handle) = (0, 4),
                _ => frame.dst = someone(self),
            }
        }
        if kind == ROUTE {
            frame.offset = u64::from(someone(self));
            if self.rng.percent(30) {
                frame.offset = OF_ITS_OWN + self.rng.below(5);
            }
        }
        let times = match self.rng.below(300) {
            0 if up_and_on(&frame) => {
                frame.size = 5000;
                1200
            }
            0..12 => 100,
            _ => 1,
        };
        self.plan.push(Step::Forge { at, times, frame });
    }

    /// Draws a large upload from one context, which then vanishes.
    fn torrent(&mut self) {
        let from = self.anyone();
        let most = if self.rng.percent(10) {
            300_000
        } else {
            30_000
        };
        for _ in 0..self.rng.between(2, 24) {
            let (size, reader) = (self.rng.between(1, most) as u32, Reader::Fast);
            self.requests += 1;
            self.plan.push(Step::Stream {
                from: 0,
                to: from,
                size,
                up: true,
                reader,
            });
        }
        self.wait(100);
        let ms = self.rng.below(20) as u32;
        if from != 0 && self.rng.percent(70) {
            self.plan.push(Step::Vanish { child: from, ms });
        }
    }

    fn step(&mut self, shape: Shape, hostility: u64) {
        let child = self.anyone();
        let up = self.rng.percent(50);
        let ms = self.rng.below(300) as u32;
        match self.rng.below(100) {
            0..8 => self.connect(shape, hostility),
            8..42 => self.call(),
            42..52 => self.stream(),
            52..55 => self.plan.push(Step::Ask { from: child }),
            55..57 => self.plan.push(Step::Log {
                from: child,
                size: ms,
            }),
            57..61 => {
                let back = self.rng.below(6) as u32;
                self.plan.push(Step::Cancel { back });
            }
            61 => {
                let keep = self.rng.pick(&[0, 50, 99, 100]);
                let (parent_ms, child_ms) =
                    (self.rng.below(200) as u32, self.rng.below(200) as u32);
                self.plan.push(Step::Cut {
                    child,
                    keep,
                    parent_ms,
                    child_ms,
                });
                self.fell(child);
            }
            62 => {
                self.plan.push(Step::Vanish { child, ms });
                self.fell(child);
            }
            63 if up => {
                self.plan.push(Step::Shutdown { child });
                self.fell(child);
            }
            63..65 => self.wait(200),
            65..69 => {
                let ms = match self.rng.below(20) {
                    0 => ms * 20,
                    1..4 => ms * 2,
                    _ => ms,
                };
                self.plan.push(Step::Stall { child, up, ms });
            }
            69 if up => {
                let bit = self.rng.word() as u32;
                self.plan.push(Step::Corrupt { child, up, bit });
            }
            70 if up => {
                let bytes = self.rng.between(1, 60) as u32;
                self.plan.push(Step::Truncate { child, up, bytes });
            }
            71..84 => (0..3).for_each(|_| self.forge()),
            84 if up && ms < 100 => self.torrent(),
            85..88 => {
                let (one, other) = (child, self.anyone());
                self.plan.push(Step::Pair {
                    one,
                    other,
                    open: ms > 40,
                });
                self.wait(60);
                self.visit(one, other);
                self.visit(other, one);
            }
            88 => {
                let to = self.anyone();
                self.visit(child, to);
            }
            89 => self.plan.push(Step::Jump { at: child }),
            _ => self.wait(60),
        }
    }
}
