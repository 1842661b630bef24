//! Tests of both ends of one memory.

use std::os::unix::net::UnixStream;

use super::mailboxes::Corrupted;
use super::*;

fn both_ends() -> (Memory, Memory) {
    let (here, there) = UnixStream::pair().unwrap();
    let ours = Memory::for_tests(2);
    ours.send(&here).unwrap();
    (ours, SentMemory::receive(&there).unwrap().unwrap().open(2, 7).unwrap())
}

#[test]
fn commands_are_taken_in_their_order_and_answers_come_back_once() {
    let (ours, theirs) = both_ends();
    let (here, there, range) = (ours.mailboxes(), theirs.mailboxes(), ours.layout().mailboxes(Lane::Work));
    for (mailbox, turn, command) in [(3, 2, &b"second"[..]), (0, 1, b"first, and longer"), (1, 3, b"")] {
        here.put(mailbox, Turn(turn), command).unwrap();
    }
    assert_eq!(here.put(3, Turn(4), b"taken"), Err(Corrupted), "there is one already");
    for (mailbox, turn, command) in [(0, 1, &b"first, and longer"[..]), (3, 2, b"second"), (1, 3, b"")] {
        assert_eq!(there.claim(range.clone(), 1), Some((mailbox, Turn(turn))));
        assert_eq!(there.read(mailbox, Turn(turn)).unwrap().as_slice(), command);
        assert_eq!(here.take_answer(mailbox, Turn(turn), command.len()), Ok(None));
        assert!(there.answer(mailbox, Turn(turn), 1, b"answer"));
        assert!(!there.answer(mailbox, Turn(turn), 1, b"again"));
        assert_eq!(here.take_answer(mailbox, Turn(turn), command.len()).unwrap().unwrap().as_slice(), b"answer");
        assert!(here.take_answer(mailbox, Turn(turn), 0).is_err(), "it is free");
    }
    assert_eq!(there.claim(range, 1), None);
}

#[test]
fn slots_are_wiped_when_they_are_done_with() {
    let (ours, theirs) = both_ends();
    let (here, there) = (ours.mailboxes(), theirs.mailboxes());
    for (command, answer) in [(1000, 10), (10, 1000)] {
        assert!(here.put(0, Turn(1), &vec![7; command]).is_ok() && there.claim(0..1, 0).is_some());
        assert!(there.answer(0, Turn(1), 0, &vec![9; answer]));
        assert!(here.take_answer(0, Turn(1), command).unwrap().is_some());
        assert!(here.is_wiped(0));
    }
    assert!(here.put(0, Turn(2), &[7; 1000]).is_ok() && here.take_back(0, Turn(2), Stage::Ready).is_some());
    assert!(here.is_wiped(0));
}

#[test]
fn what_is_given_up_is_not_answered_by_whoever_comes_late() {
    let (ours, theirs) = both_ends();
    let (here, there) = (ours.mailboxes(), theirs.mailboxes());
    assert!(here.put(0, Turn(1), b"hangs").is_ok() && there.claim(0..1, 5).is_some());
    assert_eq!(here.take_back(0, Turn(1), Stage::Ready), None);
    assert_eq!(here.take_back(0, Turn(1), Stage::Taken), Some(5));
    assert!(here.put(0, Turn(2), b"next").is_ok() && there.claim(0..1, 6).is_some());
    assert!(!there.answer(0, Turn(1), 5, b"late"));
    assert_eq!(there.read(0, Turn(2)).unwrap().as_slice(), b"next");
    assert!(there.answer(0, Turn(2), 6, b"in time"));
    assert_eq!(here.take_back(0, Turn(2), Stage::Taken), None, "the answer is there");
}

#[test]
fn what_is_too_long_is_not_put_and_what_just_fits_is() {
    let (ours, theirs) = both_ends();
    assert!(ours.mailboxes().put(0, Turn(1), &vec![1; MAILBOX_BYTES + 1]).is_err());
    ours.mailboxes().put(0, Turn(1), &vec![1; MAILBOX_BYTES]).unwrap();
    assert_eq!(theirs.mailboxes().read(0, Turn(1)).unwrap().len(), MAILBOX_BYTES);
}

#[test]
fn one_that_is_too_small_or_no_memory_at_all_is_refused() {
    let (here, there) = UnixStream::pair().unwrap();
    Memory::for_tests(2).send(&here).unwrap();
    assert!(SentMemory::receive(&there).unwrap().unwrap().open(3, 7).is_err());
    SentMemory::send_none(&here).unwrap();
    assert!(SentMemory::receive(&there).unwrap().is_none());
}

/// A generator of numbers that are as good as random, and the same in each run.
fn numbers() -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

#[test]
fn random_words_over_all_of_it_are_noticed_and_never_believed() {
    let mut next = numbers();
    let mut believed = 0;
    for round in 0..400 {
        let (ours, theirs) = both_ends();
        let (here, there) = (ours.mailboxes(), theirs.mailboxes());
        assert!(here.put(0, Turn(1), b"command").is_ok() && there.claim(0..1, 0).is_some());
        assert!(there.answer(0, Turn(1), 0, b"answer"));
        let words = theirs.shared.long_words();
        // All of the mailbox and of the states; or a single word of them.
        let corrupted = if round % 2 == 0 { 0..words.len() } else { word_of_the_mailbox(&theirs, next()) };
        words[corrupted].iter().for_each(|word| word.store(next(), std::sync::atomic::Ordering::Relaxed));
        match here.take_answer(0, Turn(1), 7) {
            Err(Corrupted) | Ok(None) => {}
            Ok(Some(answer)) => {
                // The word that was hit has no part in the answer.
                believed += 1;
                assert_eq!(answer.as_slice(), b"answer");
            }
        }
    }
    assert!(believed < 200, "{believed}");
}

/// One of the words that say something: the state, the length, the checksum, the bytes.
fn word_of_the_mailbox(memory: &Memory, number: u64) -> std::ops::Range<usize> {
    let begin = memory.layout().all_mailboxes();
    let word = [0, begin, begin + 1, begin + 2, begin + 3][usize::try_from(number % 5).unwrap()];
    word..word + 1
}
