//! Settings that cannot be read.

use super::*;

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let told = |path: &Path| Settings::read(path).unwrap_err().to_string();
    let dir = tempfile::tempdir().unwrap();
    let missing = told(&dir.path().join("none.toml"));
    assert!(missing.contains("1 problem\n  cannot be read: No such file"), "{missing}");
    assert!(told(dir.path()).contains("it is not an ordinary file"));
    let large = dir.path().join("large.toml");
    std::fs::write(&large, vec![b'#'; 2 << 20]).unwrap();
    assert!(told(&large).contains("it is larger than 1 MiB"));
    let binary = dir.path().join("binary.toml");
    std::fs::write(&binary, b"\x7fELF\0\0").unwrap();
    assert!(told(&binary).contains("line 1: holds a NUL byte"));
    std::fs::write(&binary, "").unwrap();
    assert!(told(&binary).contains("the file is empty"));
}
