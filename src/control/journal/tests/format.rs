use proptest::prelude::*;

use super::super::line::{Unreadable, decode, encode, fits};
use super::*;

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

prop_compose! {
    fn records()(
        millis in any::<u64>(),
        texts in prop::array::uniform3(any::<String>()),
        region in prop::option::of(any::<String>()),
        action in prop::sample::select(Action::ALL),
        values in (json_value(), json_value(), prop::option::of(json_value())),
        numbers in any::<(u64, u64)>(),
    ) -> Record {
        let [actor, source, reason] = texts;
        Record {
            time: WallTime::from_millis(millis), actor, source, action, region, reason,
            before: values.0, after: values.1, generation: numbers.0, revision: numbers.1,
            change: values.2.filter(|change| !change.is_null()),
        }
    }
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_as_it_was(record in records(), seq in 1..u64::MAX) {
        let before = Hash::NONE.then(b"{");
        let (line, entry) = encode(record.clone(), seq, before).unwrap();
        prop_assert!(!line.contains(['\n', '\r', '\0']));
        prop_assert_eq!(&entry.record, &record);
        prop_assert_eq!(decode(line.as_bytes()), Ok(entry));
        prop_assert!(fits(line.as_bytes(), before) && !fits(line.as_bytes(), Hash::NONE));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..400) {
        let (line, _) = encode(record(1), 1, Hash::NONE).unwrap();
        let mut spoiled = line.into_bytes();
        let at = at.min(spoiled.len());
        spoiled.splice(at..at, bytes.iter().copied());
        let _ = decode(&bytes);
        prop_assert!(bytes.is_empty() || !fits(&spoiled, Hash::NONE));
    }

    #[test]
    fn a_time_is_read_as_it_was_written(millis in 0_u64..253_402_300_800_000) {
        let time = WallTime::from_millis(millis);
        prop_assert_eq!(WallTime::parse(&time.to_string()), Some(time));
    }
}

#[test]
fn a_line_has_the_documented_keys_in_their_order() {
    let plain = Record { reason: "night".to_owned(), ..record(2) };
    let (line, entry) = encode(plain, 7, Hash::NONE).unwrap();
    let expected = format!(
        r#"{{"v":2,"seq":7,"time":"2026-05-28T20:26:42.000Z","actor":"night-shift","source":"127.0.0.1:50312","action":"weight","region":"us-east-1","reason":"night","before":{{"weight":100}},"after":{{"weight":2}},"generation":20,"revision":2,"change":{{"add":2}},"hash":"{}"}}"#,
        entry.hash
    );
    assert_eq!(line, expected);
}

#[test]
fn every_code_leads_back_to_its_action() {
    for action in Action::ALL {
        assert_eq!(Action::of(action.code()), Some(*action));
    }
    assert_eq!(Action::of("Weight"), None);
}

#[test]
fn a_time_in_another_form_is_none() {
    for text in [
        "2026-06-01T09:30:00Z",
        "2026-06-01T09:30:00.25Z",
        "2026-02-30T09:30:00.250Z",
        "",
        "é",
        "2026-06-01 09:30:00.250Z",
        "2026-06-01T09:30:00.250+00:00",
        "+026-06-01T09:30:00.250Z",
    ] {
        assert_eq!(WallTime::parse(text), None, "{text}");
    }
    assert_eq!(WallTime::parse("1970-01-01T00:00:01.002Z"), Some(WallTime::from_millis(1002)));
}

#[test]
fn an_entry_that_would_not_read_back_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    let mut deep = json!(0);
    for _ in 0..200 {
        deep = json!([deep]);
    }
    let too_deep = journal.append(Record { after: deep.clone(), ..record(1) }).unwrap_err();
    assert!(matches!(&too_deep, AppendError::Unfit(why) if why.contains("recursion")), "{too_deep}");
    let long = "x".repeat(LONGEST_LINE);
    let too_long = journal.append(Record { reason: long, ..record(1) }).unwrap_err();
    assert!(matches!(&too_long, AppendError::Unfit(why) if why.contains("262144")), "{too_long}");
    assert!(matches!(journal.checkpoint(&deep), Err(AppendError::Unfit(_))));
    append_to(&mut journal, 1);
    assert!(journal.reader().verify().unwrap().is_sound());
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    append_to(&mut open(folder.path()).journal, 20);
    for file in [segments(folder.path()).pop().unwrap(), folder.path().join("journal/checkpoint.json")] {
        let newer = copy(folder.path());
        let path = newer.path().join("journal").join(file.file_name().unwrap());
        let text = std::fs::read_to_string(&path).unwrap().replacen("{\"v\":2,", "{\"v\":3,\"colour\":3,", 1);
        std::fs::write(&path, &text).unwrap();
        let refused = FileJournal::open_within(newer.path(), TIGHT).unwrap_err();
        assert!(
            matches!(&refused, JournalError::Newer { path: told, found: 3 } if *told == path),
            "{refused}"
        );
        assert!(refused.to_string().contains("run the version that wrote it"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    assert_eq!(decode(b"{\"v\":9}"), Err(Unreadable::Newer(9)));
}
