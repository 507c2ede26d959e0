//! A pin as it travels: `v1.`, then base64url of what it says and of a MAC over that.
//!
//! ```text
//! 8 bytes  tenant    XXH3-64 of its name
//! 8 bytes  region    XXH3-64 of its name
//! 8 bytes  time      milliseconds since 1970, UTC
//! 16 bytes position  where the region said one
//! 32 bytes MAC       HMAC-SHA256 over "rhumb-pin-v1", a zero byte, and all of the above
//! ```
//!
//! Numbers are big-endian. There is one spelling of each pin, of one of two lengths. It is no secret, only nobody
//! else's to write. Of a tenant it holds a hash: a pin that passed for a tenant of the same hash would choose among
//! regions that this tenant may read anyway.
//!
//! Never: reads anything that no key of ours has signed, or more than [`LONGEST`] bytes.

use arrayvec::{ArrayString, ArrayVec};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rhumb_decision::pin::Pin;
use rhumb_decision::units::{Key, Wall};
use ring::hmac;

use crate::keys::Keys;

/// What a pin of this version begins with.
const VERSION: &str = "v1.";
/// What is signed before the pin itself, so that no other text that these keys may sign passes for one.
const DOMAIN: &[u8] = b"rhumb-pin-v1\0";

const PLAIN: usize = 24;
const WITH_POSITION: usize = PLAIN + 16;
const MAC: usize = 32;

/// The most bytes of a pin: base64url of what it says and the MAC, without padding.
pub const LONGEST: usize = VERSION.len() + ((WITH_POSITION + MAC) * 4).div_ceil(3);

/// A pin, written.
pub type Sealed = ArrayString<LONGEST>;

/// Why something is no pin of ours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NoPin {
    /// It is longer than any pin.
    Oversized,
    /// It is not written as a pin of this version is.
    Malformed,
    /// None of our keys has signed it.
    Forged,
}

impl NoPin {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
            Self::Forged => "forged",
        }
    }
}

/// Writes a pin, signed with the first key; `None`: there is no key, which no key file leads to.
#[must_use]
pub fn seal(pin: &Pin, keys: &Keys) -> Option<Sealed> {
    let mut bytes = said(pin);
    let tag = mac(keys.first()?.hmac(), &bytes);
    bytes.try_extend_from_slice(tag.as_ref()).ok()?;
    let mut text = [0; LONGEST];
    let written = URL_SAFE_NO_PAD.encode_slice(&bytes, &mut text).ok()?;
    let mut sealed = Sealed::from(VERSION).ok()?;
    sealed.try_push_str(str::from_utf8(text.get(..written)?).ok()?).ok()?;
    Some(sealed)
}

/// Reads a pin that one of `keys` has signed. Every key is tried, and each takes the same time over a wrong one.
///
/// # Errors
/// Why it is none.
pub fn open(text: &[u8], keys: &Keys) -> Result<Pin, NoPin> {
    if text.len() > LONGEST {
        return Err(NoPin::Oversized);
    }
    let coded = text.strip_prefix(VERSION.as_bytes()).ok_or(NoPin::Malformed)?;
    // Room for what the estimate of the decoder may be beyond the length.
    let mut room = [0; WITH_POSITION + MAC + 3];
    let read = URL_SAFE_NO_PAD.decode_slice(coded, &mut room).map_err(|_| NoPin::Malformed)?;
    let (said, tag) = match read {
        length if length == PLAIN + MAC => room.get(..length).and_then(|all| all.split_at_checked(PLAIN)),
        length if length == WITH_POSITION + MAC => {
            room.get(..length).and_then(|all| all.split_at_checked(WITH_POSITION))
        }
        _ => None,
    }
    .ok_or(NoPin::Malformed)?;
    let signed = |key: &hmac::Key| {
        // Compared in constant time by ring.
        hmac::verify(key, &signed_text(said), tag).is_ok()
    };
    if !keys.iter().any(|key| signed(key.hmac())) {
        return Err(NoPin::Forged);
    }
    meant(said).ok_or(NoPin::Malformed)
}

type Said = ArrayVec<u8, { WITH_POSITION + MAC }>;

fn said(pin: &Pin) -> Said {
    let numbers = [pin.tenant.0, pin.region, pin.at.0];
    let mut bytes: Said = numbers.into_iter().flat_map(u64::to_be_bytes).collect();
    bytes.extend(pin.position.into_iter().flat_map(u128::to_be_bytes));
    bytes
}

fn meant(said: &[u8]) -> Option<Pin> {
    let number = |at: usize| said.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    let position = said.get(PLAIN..).and_then(|rest| rest.try_into().ok()).map(u128::from_be_bytes);
    Some(Pin { tenant: Key(number(0)?), region: number(8)?, at: Wall(number(16)?), position })
}

fn signed_text(said: &[u8]) -> ArrayVec<u8, { DOMAIN.len() + WITH_POSITION }> {
    DOMAIN.iter().chain(said).copied().collect()
}

fn mac(key: &hmac::Key, said: &[u8]) -> hmac::Tag {
    hmac::sign(key, &signed_text(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(lines: &[(&str, u8)]) -> Keys {
        let secret = |byte: u8| base64::engine::general_purpose::STANDARD.encode([byte; 32]);
        let text: String = lines.iter().map(|(name, byte)| format!("{name} {}\n", secret(*byte))).collect();
        Keys::parse("pin.keys".as_ref(), text.as_bytes()).unwrap()
    }

    fn pin(position: Option<u128>) -> Pin {
        Pin {
            tenant: Key::of(b"acme"),
            region: Key::of(b"eu-west-1").0,
            at: Wall(1_800_000_000_123),
            position,
        }
    }

    const PINS: [Option<u128>; 4] = [None, Some(0), Some(184_999), Some(u128::MAX)];

    #[test]
    fn what_is_sealed_opens_and_is_what_it_was() {
        let keys = keys(&[("one", 1)]);
        for position in PINS {
            let sealed = seal(&pin(position), &keys).unwrap();
            assert_eq!(open(sealed.as_bytes(), &keys), Ok(pin(position)));
            assert!(sealed.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{sealed}");
        }
        assert_eq!(seal(&pin(None), &keys).unwrap().len(), 3 + 75);
        assert_eq!(seal(&pin(Some(1)), &keys).unwrap().len(), LONGEST);
    }

    #[test]
    fn a_rotated_key_still_verifies_and_a_removed_one_does_not() {
        let old = seal(&pin(Some(7)), &keys(&[("old", 1)])).unwrap();
        let (both, new) = (keys(&[("new", 2), ("old", 1)]), keys(&[("new", 2)]));
        assert_eq!(open(old.as_bytes(), &both), Ok(pin(Some(7))));
        assert_eq!(open(old.as_bytes(), &new), Err(NoPin::Forged));
        let first = seal(&pin(Some(7)), &both).unwrap();
        assert_eq!(open(first.as_bytes(), &new), Ok(pin(Some(7))), "the first signs");
    }

    #[test]
    fn no_bit_of_a_pin_can_be_changed() {
        let keys = keys(&[("one", 1)]);
        for position in [None, Some(184_999)] {
            let sealed = seal(&pin(position), &keys).unwrap();
            for at in 0..sealed.len() {
                for bit in 0..8 {
                    let mut changed = sealed.as_bytes().to_vec();
                    changed[at] ^= 1 << bit;
                    assert!(open(&changed, &keys).is_err(), "byte {at}, bit {bit}");
                }
            }
        }
    }

    #[test]
    fn what_is_cut_off_or_added_is_no_pin() {
        let keys = keys(&[("one", 1)]);
        let sealed = seal(&pin(Some(7)), &keys).unwrap();
        for upto in 0..sealed.len() {
            assert!(open(&sealed.as_bytes()[..upto], &keys).is_err(), "{upto} bytes");
        }
        assert_eq!(open(format!("{sealed}A").as_bytes(), &keys), Err(NoPin::Oversized));
        assert_eq!(open(&[b'A'; 100_000], &keys), Err(NoPin::Oversized));
        let short = seal(&pin(None), &keys).unwrap();
        for odd in
            [format!("{short}A"), format!("{short}="), format!(" {short}"), short.replace("v1.", "v2.")]
        {
            assert_eq!(open(odd.as_bytes(), &keys), Err(NoPin::Malformed), "{odd}");
        }
        for none in ["", "v1.", "v1", "\0", "v1.\u{ff}"] {
            assert_eq!(open(none.as_bytes(), &keys), Err(NoPin::Malformed), "{none:?}");
        }
    }

    #[test]
    fn a_position_cannot_be_taken_off_a_pin() {
        let keys = keys(&[("one", 1)]);
        let sealed = seal(&pin(Some(7)), &keys).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&sealed[3..]).unwrap();
        let without: Vec<u8> = bytes[..PLAIN].iter().chain(&bytes[WITH_POSITION..]).copied().collect();
        let text = format!("v1.{}", URL_SAFE_NO_PAD.encode(without));
        assert_eq!(open(text.as_bytes(), &keys), Err(NoPin::Forged));
    }

    #[test]
    fn what_the_same_key_signs_elsewhere_is_no_pin() {
        let keys = keys(&[("one", 1)]);
        let mut bytes = said(&pin(None)).to_vec();
        let bare = hmac::sign(keys.first().unwrap().hmac(), &bytes);
        bytes.extend(bare.as_ref());
        let text = format!("v1.{}", URL_SAFE_NO_PAD.encode(bytes));
        assert_eq!(open(text.as_bytes(), &keys), Err(NoPin::Forged));
    }
}
