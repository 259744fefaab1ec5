//! Messages that name contexts and ends of channels and pipes, from every possible sender. A
//! decoded name leads only to hubs, and only to contexts that the sender may name.

use crate::input::Input;
use offshoot_agent::{Error, Reason, testing};
use offshoot_codec::to_bytes;
use offshoot_proto::text::is_harmful;
use offshoot_proto::wire::Kind;
use offshoot_proto::{ContextId, Handle};

/// The lowest handle of a hub, as in `id`.
const HUBS: u32 = 1 << 31;
/// The length of a greeting.
const GREETING: usize = 17;
/// Ids to be named: existing and non-existing contexts.
const NUMBERS: usize = 12;

/// The existing contexts, each with its parent, which comes before it.
struct World {
    parents: Vec<ContextId>,
    told: Vec<(ContextId, ContextId)>,
}

impl World {
    fn parent(&self, id: ContextId) -> Option<ContextId> {
        self.parents.get((id.0 as usize).checked_sub(1)?).copied()
    }

    fn above(&self, id: ContextId) -> Vec<ContextId> {
        std::iter::successors(self.parent(id), |id| self.parent(*id)).collect()
    }

    /// The rule of SECURITY.md.
    fn may_name(&self, who: ContextId, id: ContextId, hub: bool) -> bool {
        let is_below = self.above(id).contains(&who);
        let heard = [who].into_iter().chain(self.above(who));
        who == ContextId::ROOT
            || id == who
            || is_below
            || (hub && id == ContextId::ROOT)
            || heard
                .filter(|id| *id != ContextId::ROOT)
                .any(|who| self.told.contains(&(who, id)))
    }
}

fn number(input: &mut Input<'_>) -> ContextId {
    match input.below(NUMBERS + 1) {
        NUMBERS => ContextId(input.u32()),
        number => ContextId(number as u32),
    }
}

/// The contexts that a message names, and whether as the owner of a hub.
type Named = Vec<(ContextId, bool)>;

/// Returns a well-formed message of that kind, and the contexts it names in order.
fn message(input: &mut Input<'_>, how: usize) -> (Vec<u8>, Named) {
    let end = |input: &mut Input<'_>| {
        let service = if input.flag() {
            input.below(12) as u32
        } else {
            input.u32()
        };
        (number(input), service, input.u64())
    };
    let bytes = |value: &dyn Fn() -> Result<Vec<u8>, offshoot_codec::CodecError>| {
        value().expect("it can be written")
    };
    match how {
        0 => {
            let context = (
                number(input),
                input
                    .text()
                    .chars()
                    .filter(|c| !is_harmful(*c))
                    .take(100)
                    .collect::<String>(),
            );
            (bytes(&|| to_bytes(&context)), vec![(context.0, false)])
        }
        1 => {
            let sender = (end(input), input.u64());
            (bytes(&|| to_bytes(&sender)), vec![(sender.0.0, true)])
        }
        2..=4 => {
            let end = end(input);
            (bytes(&|| to_bytes(&end)), vec![(end.0, true)])
        }
        _ => {
            let all = input.some(|input| {
                let context = (number(input), "its name");
                (context, input.maybe(|input| (end(input), input.u64())))
            });
            let named = all.iter().flat_map(|(context, sender)| {
                [(context.0, false)]
                    .into_iter()
                    .chain(sender.iter().map(|sender| (sender.0.0, true)))
            });
            (bytes(&|| to_bytes(&all)), named.collect())
        }
    }
}

/// Runs the check.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (reading, mut world) = (
        testing::Reading::default(),
        World {
            parents: Vec::new(),
            told: Vec::new(),
        },
    );
    for id in 1..=1 + input.below(8) as u32 {
        let parent = ContextId(input.below(id as usize) as u32);
        let name = input.flag().then(|| format!("c{id}"));
        reading.add(ContextId(id), parent, name.as_deref());
        world.parents.push(parent);
    }
    for _ in 0..input.below(6) {
        let (who, of) = (number(&mut input), number(&mut input));
        reading.tell(who, of);
        world.told.push((who, of));
    }
    while !input.is_empty() {
        let (how, who) = (input.below(testing::READINGS), number(&mut input));
        let (said, named) = match input.flag() {
            true => message(&mut input, how),
            false => (input.bytes().to_vec(), Vec::new()),
        };
        let read = reading.read(how, who, &said);
        let refused = named
            .iter()
            .any(|(id, hub)| !world.may_name(who, *id, *hub));
        if refused {
            let is = matches!(
                read.contexts,
                Err(Error::Undelivered {
                    reason: Reason::Refused,
                    ..
                })
            );
            assert!(is, "{who} names {named:?}: {:?}", read.contexts);
        } else if !named.is_empty() {
            let contexts: Vec<_> = named
                .iter()
                .filter(|(_, hub)| !hub)
                .map(|(id, _)| *id)
                .collect();
            assert_eq!(read.contexts, Ok(contexts), "{who} names {named:?}");
        }
        for id in read.contexts.iter().flatten() {
            assert!(world.may_name(who, *id, false), "{who} gives {id}");
        }
        for (header, length) in &read.sent {
            assert!(
                world.may_name(who, header.dst, true),
                "{who} has {} reached",
                header.dst
            );
            assert!(
                header.kind != Kind::Open || header.handle >= Handle(HUBS) && *length == GREETING,
                "{header:?}"
            );
            assert!(
                [Kind::Open, Kind::Data, Kind::Reset].contains(&header.kind),
                "{header:?}"
            );
        }
        assert!(
            read.opened.iter().all(|service| *service >= Handle(HUBS)),
            "{:?}",
            read.opened
        );
    }
}
