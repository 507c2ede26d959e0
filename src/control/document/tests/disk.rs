//! Files: odd ones, those that go away, copies.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;

use super::*;

fn with_csv() -> Folder {
    let folder = Folder::new(&LEAST.replace("[regions.eu]", "files = [\"a.csv\"]\n[regions.eu]"));
    folder.write("a.csv", "id,home\na,eu\nb,us\n");
    folder
}

/// What is told of something odd, and how to put it in the place of a file.
type Odd = (&'static str, Box<dyn Fn()>);

fn odd(path: &Path) -> Vec<Odd> {
    let (folder, fifo, socket, link) = [(); 4].map(|()| path.to_path_buf()).into();
    vec![
        ("is a directory; name an ordinary file", Box::new(move || std::fs::create_dir(&folder).unwrap())),
        (
            "is a FIFO; name an ordinary file",
            Box::new(move || assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success())),
        ),
        ("is a socket; name an ordinary file", Box::new(move || drop(UnixListener::bind(&socket).unwrap()))),
        ("is a device; name an ordinary file", Box::new(move || symlink("/dev/zero", &link).unwrap())),
    ]
}

fn remove(path: &Path) {
    let _ = std::fs::remove_dir(path);
    let _ = std::fs::remove_file(path);
}

#[test]
fn only_ordinary_files_are_read_and_nothing_waits_for_others() {
    let folder = with_csv();
    let csv = folder.path("a.csv");
    for (what, put) in odd(&csv) {
        remove(&csv);
        put();
        assert_eq!(folder.told(), [format!("t.toml: line 3, tenancy.files[0]: a.csv {what}")]);
    }
    let table = folder.path("t.toml");
    for (what, put) in odd(&table) {
        remove(&table);
        put();
        let unreadable = folder.read().err().unwrap();
        assert_eq!(unreadable.problems.count(), 1);
        assert!(unreadable.problems.to_string().contains(what), "{}", unreadable.problems);
        assert_eq!(unreadable.files, [&*table]);
    }
}

#[test]
fn a_file_that_is_not_there_is_told_and_watched_all_the_same() {
    let folder = with_csv();
    std::fs::remove_file(folder.path("a.csv")).unwrap();
    assert_eq!(folder.told(), ["t.toml: line 3, tenancy.files[0]: there is no file a.csv"]);
    let files = folder.read().err().unwrap().files;
    assert_eq!(files, [folder.path("t.toml"), folder.path("a.csv")]);
    std::fs::remove_file(folder.path("t.toml")).unwrap();
    assert_eq!(folder.told(), ["t.toml: there is no file t.toml"]);
}

#[test]
fn a_file_without_text_is_told() {
    for (text, part) in [
        (&b""[..], "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b"\x7fELF\x02\0\0", "holds a NUL byte"),
        (b"a = \"\xff\"", "is not UTF-8"),
        (b"[regions.eu]\njuris", "not TOML"),
        (b"# nothing\n", "holds no keys"),
    ] {
        let folder = Folder::new("");
        folder.write("t.toml", text);
        let told = folder.told();
        assert!(told.len() == 1 && told[0].contains(part), "{told:?}");
    }
}

#[test]
fn a_table_that_is_too_large_is_not_read() {
    let folder = Folder::new("");
    let file = std::fs::File::create(folder.path("t.toml")).unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    let fix = "put the tenants into a CSV, named in tenancy.files";
    assert_eq!(folder.told(), [format!("t.toml: t.toml is larger than 64 MiB; {fix}")]);
    let folder = with_csv();
    std::fs::File::create(folder.path("a.csv")).unwrap().set_len((4 << 30) + 1).unwrap();
    assert_eq!(folder.told(), ["t.toml: line 3, tenancy.files[0]: a.csv is larger than 4 GiB; split it"]);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_taken() {
    let folder = with_csv();
    for change in ["id,home\n", "id,home\na,eu\nb,us\nc,us\n"] {
        let mut files = Files::new(Origin::Disk, None);
        let path = folder.path("a.csv");
        let mut stream = files.open(&path, Kind::Tenants).unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
        folder.write("a.csv", change);
        let wrong = files.done(stream).unwrap_err();
        assert!(wrong.what.ends_with("changed while it was read"), "{}", wrong.what);
    }
}

#[test]
fn a_file_is_named_once() {
    let folder = with_csv();
    folder.write("t.toml", LEAST.replace("[regions.eu]", "files = [\"a.csv\",\n\"a.csv\"]\n[regions.eu]"));
    let told = folder.told();
    assert!(
        told[0].starts_with("t.toml: line 4, tenancy.files[1]: ")
            && told[0].ends_with("is named twice; name each file once"),
        "{told:?}"
    );
}

#[test]
fn the_edge_must_stand_in_one_of_the_regions() {
    let folder = Folder::new(LEAST);
    let path = folder.path("t.toml");
    let unreadable = read(&Reading { path: &path, edge_region: "ue", copy_to: None }).err().unwrap();
    assert!(
        unreadable.problems.to_string().ends_with(
            "line 6, regions: edge.region = \"ue\" of the settings is none of them; did you mean \"eu\"?"
        ),
        "{}",
        unreadable.problems
    );
}

#[test]
fn the_hash_is_of_all_that_was_read() {
    let folder = with_csv();
    let before = folder.read().unwrap().hash;
    assert_eq!(before.len(), 64);
    assert_eq!(folder.read().unwrap().hash, before);
    folder.write("a.csv", "id,home\na,eu\nb,eu\n");
    let other_row = folder.read().unwrap().hash;
    assert_ne!(other_row, before);
    folder.write("t.toml", std::fs::read_to_string(folder.path("t.toml")).unwrap() + "# more\n");
    assert_ne!(folder.read().unwrap().hash, other_row);
    let listed = Command::new("sh")
        .args(["-c", "sha256sum t.toml a.csv | cut -c1-64 | sha256sum | cut -c1-64"])
        .current_dir(folder.0.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(listed.stdout).unwrap().trim(), folder.read().unwrap().hash);
}

#[test]
fn copies_read_alike_once_the_originals_are_gone() {
    let folder = with_csv();
    let copies = folder.empty("copies");
    let first = folder.read_and_copy(Some(&copies)).unwrap();
    assert_eq!(first.not_kept, None);
    assert_eq!(kept_hash(&copies).as_deref(), Some(first.hash.as_str()));
    std::fs::remove_file(folder.path("t.toml")).unwrap();
    std::fs::remove_file(folder.path("a.csv")).unwrap();
    let moved = folder.path("moved");
    std::fs::rename(&copies, &moved).unwrap();
    let again = folder.empty("again");
    let second = read_kept(&moved, "eu", Some(&again)).unwrap();
    assert_eq!((&second.hash, &second.files), (&first.hash, &first.files));
    assert_eq!(second.table.regions(), first.table.regions());
    let rows = |table: &Table| {
        let mut rows: Vec<_> = table
            .tenants()
            .iter()
            .map(|(id, tenant)| (id.to_owned(), tenant.epoch, tenant.profile.home))
            .collect();
        rows.sort();
        rows
    };
    assert_eq!(rows(&second.table), rows(&first.table));
    assert_eq!(second.place("b").1, 3);
    assert_eq!(read_kept(&again, "eu", None).unwrap().hash, first.hash);
}

#[test]
fn copies_are_for_nobody_else() {
    use std::os::unix::fs::PermissionsExt;
    let folder = with_csv();
    let copies = folder.empty("copies");
    folder.read_and_copy(Some(&copies)).unwrap();
    for file in std::fs::read_dir(&copies).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o077, 0);
    }
}

#[test]
fn copies_that_cannot_be_made_do_not_stop_the_table() {
    let folder = with_csv();
    let nowhere = folder.path("nowhere");
    let document = folder.read_and_copy(Some(&nowhere)).unwrap();
    assert!(document.not_kept.unwrap().starts_with("no copy in "));
    assert_eq!(document.table.tenants().len(), 2);
    assert_eq!(kept_hash(&nowhere), None);
}

#[test]
fn a_table_with_problems_leaves_no_list_of_copies() {
    let folder = with_csv();
    folder.write("a.csv", "id,home\na,uk\n");
    let copies = folder.empty("copies");
    assert!(folder.read_and_copy(Some(&copies)).is_err());
    assert_eq!(kept_hash(&copies), None);
    assert!(read_kept(&copies, "eu", None).is_err());
}

#[test]
fn damaged_copies_are_not_taken() {
    let folder = with_csv();
    let copies = folder.empty("copies");
    folder.read_and_copy(Some(&copies)).unwrap();
    std::fs::write(copies.join("1.csv"), "id,home\na,eu\n").unwrap();
    let unreadable = read_kept(&copies, "eu", None).err().unwrap();
    assert!(unreadable.problems.to_string().contains("the kept files are not those that were kept"));
    let list = std::fs::read_to_string(copies.join("kept.json")).unwrap();
    for (from, to) in [("1.csv", "../1.csv"), ("1.csv", "/etc/passwd"), ("\"files\"", "\"fils\""), ("{", "")]
    {
        std::fs::write(copies.join("kept.json"), list.replace(from, to)).unwrap();
        let unreadable = read_kept(&copies, "eu", None).err().unwrap();
        assert!(unreadable.problems.to_string().contains("cannot be read"), "{to}");
        assert_eq!(kept_hash(&copies), None);
    }
}
