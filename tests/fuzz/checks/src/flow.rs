//! Credit: both halves of a flow against a plain model in numbers that cannot overflow.

use crate::input::Input;
use offshoot_proto::flow::{
    GROWTH_OF_ALL, INITIAL_WINDOW, MAX_WINDOW, RecvCredit, SendCredit, Violation,
};

/// Runs the check.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    match input.byte() % 3 {
        0 => pair(&mut input),
        1 => receiver(&mut input),
        _ => sender(&mut input),
    }
}

/// Returns a length of an interesting size: a few bytes, a frame, a window, near a given number.
fn length(input: &mut Input<'_>, near: u64) -> u64 {
    let number = u64::from(input.u16());
    match input.byte() % 6 {
        0 => number & 0xFF,
        1 => number,
        2 => number << 8,
        3 => near.saturating_sub(number & 3),
        4 => near.saturating_add(number & 3),
        _ => near / (1 + (number & 7)),
    }
}

/// Returns the budget for growing windows: all of it, or what other flows have left.
fn spare(input: &mut Input<'_>) -> u64 {
    [GROWTH_OF_ALL, GROWTH_OF_ALL, 3 * INITIAL_WINDOW, 0][input.below(4)]
}

/// An honest sender and an honest receiver, with data and credit in flight; credit may be late or
/// duplicated.
fn pair(input: &mut Input<'_>) {
    let (mut outgoing, mut incoming) = (SendCredit::default(), RecvCredit::default());
    let whole = spare(input);
    let mut spare = whole;
    let mut under_way: Vec<(u64, usize, bool, bool)> = Vec::new();
    let mut credits: Vec<u64> = Vec::new();
    let (mut sent, mut received, mut consumed, mut ended) = (0u64, 0u64, 0u64, false);
    let (mut allowed, mut granted) = (INITIAL_WINDOW, INITIAL_WINDOW);
    while !input.is_empty() {
        match input.byte() % 5 {
            0 | 1 if !ended => {
                let room = outgoing.room();
                let piece = length(input, room as u64).min(room as u64) as usize;
                ended = input.byte() & 0x3F == 0x3F;
                assert_eq!(outgoing.send(piece, ended), sent);
                under_way.push((sent, piece, ended, outgoing.is_full()));
                sent += piece as u64;
                assert!(sent <= allowed, "never beyond what the receiver allowed");
            }
            2 if !under_way.is_empty() => {
                // Data keeps its order: a link is a stream.
                let (offset, piece, end, full) = under_way.remove(0);
                assert_eq!(
                    incoming.receive(offset, piece, end),
                    Ok(()),
                    "it kept to the rules"
                );
                if full {
                    incoming.full();
                }
                received += piece as u64;
                assert_eq!(incoming.ended(), end);
            }
            3 => {
                let held = received - consumed;
                assert_eq!(incoming.held(), held);
                let piece = length(input, held).min(held);
                consumed += piece;
                if let Some(limit) = incoming.consume(piece as usize, &mut spare) {
                    assert!(limit > allowed, "a limit is sent only if it is new");
                    assert!(limit <= consumed + MAX_WINDOW && limit >= consumed + INITIAL_WINDOW);
                    assert!(!incoming.ended(), "nothing is allowed after the end");
                    allowed = limit;
                    credits.push(limit);
                }
            }
            _ if !credits.is_empty() => {
                let at = input.below(credits.len().min(256));
                // Kept, so that it arrives again later, stale.
                let limit = if input.flag() {
                    credits.remove(at)
                } else {
                    credits[at]
                };
                assert_eq!(
                    outgoing.grant(limit),
                    Ok(limit > granted && !ended),
                    "whether it is news"
                );
                granted = granted.max(limit);
            }
            _ => {}
        }
        assert!(
            outgoing.room() as u64 <= allowed - sent,
            "no room beyond what is allowed"
        );
        assert!(incoming.held() <= MAX_WINDOW);
        assert_eq!(
            spare + incoming.growth(),
            whole,
            "what grows is taken from the spare"
        );
    }
    // No deadlock: once everything has arrived and was read, there is room, or the end.
    for (offset, piece, end, _) in under_way {
        assert_eq!(incoming.receive(offset, piece, end), Ok(()));
    }
    credits.extend(incoming.consume(incoming.held() as usize, &mut spare));
    for limit in credits {
        outgoing
            .grant(limit)
            .expect("a limit that was told in good faith");
    }
    assert_eq!(outgoing.ended(), ended);
    assert!(
        ended || outgoing.room() as u64 >= INITIAL_WINDOW / 2,
        "an idle flow has room"
    );
}

/// A receiver against an arbitrary peer.
fn receiver(input: &mut Input<'_>) {
    let mut incoming = RecvCredit::default();
    let whole = spare(input);
    let mut spare = whole;
    let (mut received, mut consumed, mut ended) = (0u128, 0u128, false);
    let mut limit = u128::from(INITIAL_WINDOW);
    while !input.is_empty() {
        match input.byte() % 8 {
            0..4 => {
                let offset = match input.byte() % 4 {
                    0 => input.u64(),
                    1 => length(input, received as u64),
                    _ => received as u64,
                };
                let piece = match input.byte() % 4 {
                    0 => input.u64(),
                    _ => length(input, (limit - received) as u64),
                };
                let end = input.byte() & 0x1F == 0x1F;
                let expected = if ended {
                    Err(Violation::AfterEnd)
                } else if u128::from(offset) != received {
                    Err(Violation::Gap(received as u64, offset))
                } else if received + u128::from(piece) > limit {
                    Err(Violation::BeyondCredit)
                } else {
                    Ok(())
                };
                assert_eq!(incoming.receive(offset, piece as usize, end), expected);
                if expected.is_ok() {
                    received += u128::from(piece);
                    ended = end;
                }
            }
            6 if input.flag() => incoming.full(),
            7 if input.byte() > 200 => {
                incoming.close();
                ended = true;
            }
            _ => {
                let piece = length(input, incoming.held());
                consumed = (consumed + u128::from(piece)).min(received);
                if let Some(told) = incoming.consume(piece as usize, &mut spare) {
                    assert!(!ended && u128::from(told) >= limit);
                    assert!(u128::from(told) - consumed <= u128::from(MAX_WINDOW));
                    limit = u128::from(told);
                }
            }
        }
        assert_eq!(u128::from(incoming.held()), received - consumed);
        assert_eq!(incoming.ended(), ended);
        assert!(received <= limit && incoming.held() <= MAX_WINDOW);
        assert_eq!(
            spare + incoming.growth(),
            whole,
            "what grows is taken from the spare"
        );
    }
}

/// A sender against a peer that grants arbitrary credit.
fn sender(input: &mut Input<'_>) {
    let mut outgoing = SendCredit::default();
    let (mut sent, mut limit, mut ended) = (0u128, u128::from(INITIAL_WINDOW), false);
    while !input.is_empty() {
        match input.byte() % 4 {
            0 => {
                let told = match input.byte() % 4 {
                    0 => input.u64(),
                    1 => u64::MAX - u64::from(input.byte()),
                    _ => length(input, limit as u64),
                };
                let expected = if u128::from(told) > sent + u128::from(MAX_WINDOW) {
                    Err(Violation::BeyondWindow)
                } else {
                    Ok(u128::from(told) > limit && !ended)
                };
                assert_eq!(outgoing.grant(told), expected, "whether it is news");
                if expected.is_ok() {
                    limit = limit.max(u128::from(told));
                }
            }
            1 if input.byte() > 240 => {
                outgoing.close();
                ended = true;
            }
            _ if !ended => {
                let room = outgoing.room();
                let piece = length(input, room as u64).min(room as u64);
                ended = input.byte() & 0x1F == 0x1F;
                assert_eq!(u128::from(outgoing.send(piece as usize, ended)), sent);
                sent += u128::from(piece);
            }
            _ => {}
        }
        assert!(sent <= limit);
        assert_eq!(
            outgoing.room() as u128,
            if ended { 0 } else { limit - sent }
        );
        assert_eq!(outgoing.ended(), ended);
        assert_eq!(outgoing.is_full(), !ended && sent == limit);
    }
}
