//! A pin: whatever is taken is the one spelling of what it says, signed by our key as the plainest reading of its page
//! has it; whatever is said can be sealed and opened, and no byte of that can be another.
//!
//! The first byte says what the rest is: even, a pin as a client sends it; odd, what a pin is to say.

use rhumb::keys::Keys;
use rhumb::proxy::pins::seal::{LONGEST, NoPin, open, seal};
use rhumb_decision::pin::Pin;
use rhumb_decision::units::{Key, Wall};

/// Two keys, 32 bytes of 0 and of 1.
const FILE: &str =
    "new AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nold AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";

const SPELLED: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub fn check(bytes: &[u8]) -> bool {
    let keys = Keys::parse("pin.keys".as_ref(), FILE.as_bytes()).unwrap();
    match bytes.split_first() {
        Some((first, said)) if first % 2 == 1 => {
            say(said, &keys);
            true
        }
        Some((_, text)) => take(text, &keys),
        None => false,
    }
}

fn take(text: &[u8], keys: &Keys) -> bool {
    let read = open(text, keys);
    let coded = text.strip_prefix(b"v1.".as_slice());
    let is_pin = coded.is_some_and(|coded| {
        [75, 96].contains(&coded.len()) && coded.iter().all(|byte| SPELLED.contains(byte))
    });
    match read {
        Err(NoPin::Oversized) => assert!(text.len() > LONGEST),
        Err(NoPin::Malformed) => assert!(text.len() <= LONGEST),
        Err(NoPin::Forged) => assert!(is_pin),
        Ok(pin) => {
            assert!(is_pin, "something else is a pin");
            assert_eq!(pin.position.is_some(), text.len() == LONGEST);
            // The old key's pins are spelled otherwise now, and say the same.
            let again = seal(&pin, keys).unwrap();
            assert_eq!(again.len(), text.len());
            assert_eq!(open(again.as_bytes(), keys), Ok(pin));
        }
    }
    read.is_ok()
}

fn say(said: &[u8], keys: &Keys) {
    let mut room = [0; 42];
    room.iter_mut().zip(said).for_each(|(place, byte)| *place = *byte);
    let number = |at: usize| u64::from_be_bytes(room[at..at + 8].try_into().unwrap());
    let position = u128::from_be_bytes(room[24..40].try_into().unwrap());
    let pin = Pin {
        tenant: Key(number(0)),
        region: number(8),
        at: Wall(number(16)),
        position: (room[40] % 2 == 1).then_some(position),
    };
    let sealed = seal(&pin, keys).unwrap();
    assert_eq!(open(sealed.as_bytes(), keys), Ok(pin));
    let mut other = sealed.as_bytes().to_vec();
    let at = usize::from(room[41]) % other.len();
    other[at] ^= 1 << (said.len() % 8);
    assert!(open(&other, keys).is_err(), "byte {at} can be another");
    assert!(open(&other[..at], keys).is_err(), "the first {at} bytes are a pin");
}
