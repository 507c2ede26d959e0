//! Tenants, inline and in CSV files.

use rhumb_decision::tenants::TenantState;
use rhumb_decision::units::{Epoch, RegionId};

use super::*;

/// The least table with a CSV.
fn table() -> String {
    LEAST.replace("[regions.eu]", "files = [\"a.csv\"]\n[regions.eu]")
}

/// What is told of a CSV.
fn of_csv(csv: impl AsRef<[u8]>) -> Vec<String> {
    let folder = Folder::new(&table());
    folder.write("a.csv", csv);
    folder.told()
}

#[test]
fn a_row_says_the_same_in_either_form() {
    let folder = Folder::new(&format!(
        "{}[policies.fast]\n[tenants]\n\
         acme = {{ home = \"eu\", standby = [\"us\"], epoch = 7, policy = \"fast\", state = \"read-only\" }}\n\
         globex = {{ home = \"us\", replicas = [\"eu\"], residency = [\"us\", \"eu\"] }}\n",
        table()
    ));
    folder.write(
        "a.csv",
        "state,policy,epoch,residency,replicas,standby,home,id\n\
         read-only,fast,7,,,us,eu,acme-csv\n,,,us eu,eu,,us,globex-csv\n",
    );
    let table = folder.read().map_err(|unreadable| unreadable.problems).unwrap().table;
    for (one, other) in [("acme", "acme-csv"), ("globex", "globex-csv")] {
        let (one, other) = (table.tenants().find(one).unwrap(), table.tenants().find(other).unwrap());
        assert_eq!(one.profile, other.profile);
        assert_eq!((one.epoch, one.state), (other.epoch, other.state));
    }
    let acme = table.tenants().find("acme").unwrap();
    assert_eq!((acme.profile.home, acme.epoch, acme.state), (RegionId(0), Epoch(7), TenantState::ReadOnly));
    let globex = table.tenants().find("globex").unwrap();
    assert_eq!((globex.epoch, globex.state), (Epoch(1), TenantState::Active));
}

#[test]
fn an_inline_row_that_cannot_be_is_told_at_its_line() {
    for (row, message) in [
        ("a = 3", "a: must be a table, not 3"),
        ("a = {}", "a.home: the tenant has no home; name its home region"),
        ("a = { home = \"asia\" }", "a.home: there is no region \"asia\"; there are \"eu\", \"us\""),
        (
            "a = { home = \"eu\", residency = [\"us\"] }",
            "a.home: \"eu\" lies in \"eu\", outside the tenant's residency (us); add \"eu\" to the residency, or name a region that lies in it",
        ),
        (
            "a = { home = \"eu\", standby = [\"eu\"] }",
            "a.standby: \"eu\" is the tenant's home already; leave it out",
        ),
        ("a = { home = \"eu\", standby = \"us\" }", "a.standby: must be an array, not \"us\""),
        ("a = { home = \"eu\", epoch = 0 }", "a.epoch: must be a whole number of 1 or more, not 0"),
        (
            "a = { home = \"eu\", state = \"frosen\" }",
            "a.state: must not be \"frosen\"; did you mean \"frozen\"?",
        ),
        (
            "a = { home = \"eu\", policy = \"x\" }",
            "a.policy: there is no policy \"x\"; there are \"default\"",
        ),
        ("a = { home = \"eu\", cell = \"x\" }", "a.cell: there is no cell \"x\"; add the cell first"),
        (
            "a = { home = \"eu\", owner = \"us\" }",
            "a.owner: there is no key \"owner\" here; the keys here are \"home\", \"standby\", \"replicas\", \"residency\", \"epoch\", \"policy\", \"cell\", \"state\"",
        ),
        (
            "\"a b\" = { home = \"eu\" }",
            "\"a b\": \"a b\" cannot name a tenant; write 1 to 128 characters of A-Z, a-z, 0-9, '.', '_' and '-'",
        ),
    ] {
        let told = wrong(&format!("[tenants]\n{row}"));
        assert_eq!(told, format!("line 9, tenants.{message}"), "{row}");
    }
    let told = wrong("[tenants.a]\nhome = \"eu\"\nstandby = [\"asia\"]");
    assert!(told.starts_with("line 10, tenants.a.standby: there is no region"), "{told}");
}

#[test]
fn a_bad_row_is_told_with_file_line_and_column() {
    assert_eq!(
        of_csv(
            "home,id,epoch,state\n\
             eu,ok,,\n\
             asia,a,,\n\
             eu,a b,0,\n\
             eu,b,-1,gone\n\
             eu,c\n\
             eu,d,1,,\n"
        ),
        [
            "a.csv: line 3, column 1, tenants.a.home: there is no region \"asia\"; there are \"eu\", \"us\"",
            "a.csv: line 4, column 2, id: \"a b\" cannot name a tenant; write 1 to 128 characters of A-Z, a-z, 0-9, '.', '_' and '-'",
            "a.csv: line 4, column 3, epoch: 0 is not an epoch; epochs begin at 1",
            "a.csv: line 5, column 3, tenants.b.epoch: \"-1\" is not an epoch; write a whole number, 1 or more",
            "a.csv: line 5, column 4, tenants.b.state: there is no state \"gone\"; write \"active\", \"frozen\" or \"read-only\"",
            "a.csv: line 6, column 3: the row has 2 fields, and the header names 4 columns; write a field for each column, empty where there is nothing",
            "a.csv: line 7, column 5: the row has 5 fields, and the header names 4 columns; write a field for each column, empty where there is nothing",
        ]
    );
}

#[test]
fn hostile_rows_are_told_one_by_one() {
    let long = "x".repeat(129);
    let told = of_csv(
        [
            &b"id,home\n"[..],
            format!("{long},eu\n").as_bytes(),
            b"\xff,eu\n",
            b"\"open,eu\n",
            b"a\0b,eu\n",
            b"=cmd(),eu\n",
            b",eu\n",
            b"ok,eu\n",
        ]
        .concat(),
    );
    let parts = [
        "line 2, column 1, id: \"xxx",
        "line 3, column 1: the field is not UTF-8",
        "line 4: a quote is not closed",
        "line 5, column 1, id: \"a\\0b\" cannot name a tenant",
        "line 6, column 1, id: \"=cmd()\" cannot name a tenant",
        "line 7, column 1, id: \"\" cannot name a tenant",
    ];
    assert_eq!(told.len(), parts.len(), "{told:?}");
    for (message, part) in told.iter().zip(parts) {
        assert!(message.starts_with(&format!("a.csv: {part}")), "{message}");
    }
}

#[test]
fn a_header_that_cannot_be_is_told_and_no_row() {
    let rows = "x,y\nx,y\n";
    for (header, message) in [
        ("id,hmoe\n", "line 1, column 2: there is no column \"hmoe\"; did you mean \"home\"?"),
        (
            "id,standby\n",
            "line 1: the column \"home\" is missing; begin the file with a header row such as id,home,residency",
        ),
        ("id,id\n", "line 1, column 2: the column \"id\" is there twice; keep one of the two"),
        (
            "id;home\n",
            "line 1, column 1: the columns are not separated by commas; write them as in id,home,residency",
        ),
        ("\n\nID,home\n", "line 3, column 1: there is no column \"ID\"; did you mean \"id\"?"),
        (
            "id,\"home\n",
            "line 1: a quote is not closed; double a quote that belongs to the value, close the others",
        ),
    ] {
        assert_eq!(of_csv(format!("{header}{rows}")), [format!("a.csv: {message}")], "{header}");
    }
    let empty = "a.csv: the file is empty; begin the file with a header row such as id,home,residency";
    assert_eq!(of_csv(""), [empty]);
    assert_eq!(of_csv("\n\r\n"), [empty]);
    assert_eq!(of_csv("id,home\n"), Vec::<String>::new());
}

#[test]
fn windows_files_read_alike() {
    assert_eq!(of_csv("\u{feff}id,home\r\n\r\na,eu\r\n\"b\",\"us\"\r\n"), Vec::<String>::new());
    assert_eq!(
        of_csv("\u{feff}id,home\r\n\r\na,eu\r\nb,asia"),
        ["a.csv: line 4, column 2, tenants.b.home: there is no region \"asia\"; there are \"eu\", \"us\""]
    );
}

#[test]
fn a_tenant_that_appears_twice_is_told_with_both_places() {
    let folder = Folder::new(&format!(
        "{}[tenants]\na = {{ home = \"eu\" }}\n",
        LEAST.replace("[regions.eu]", "files = [\"a.csv\", \"b.csv\"]\n[regions.eu]")
    ));
    folder.write("a.csv", "id,home\nx,eu\na,eu\n");
    folder.write("b.csv", "id,home\ny,eu\n\nx,us\n");
    assert_eq!(
        folder.told(),
        [
            "a.csv: line 3, tenants.a: the tenant stands in t.toml at line 10 already; keep one of the two",
            "b.csv: line 4, tenants.x: the tenant stands in a.csv at line 2 already; keep one of the two",
        ]
    );
}

#[test]
fn behind_many_bad_rows_the_file_is_not_looked_at() {
    let rows: String = (0..3_000).map(|n| format!("t{n},uk\n")).collect();
    let told = of_csv(format!("id,home\n{rows}"));
    assert_eq!(told.len(), 501);
    assert_eq!(told[0], "a.csv: 500 rows are wrong, and those behind them were not looked at");
}

#[test]
fn what_a_row_refers_to_that_was_read_badly_is_not_told_again() {
    let table = table().replace("jurisdiction = \"us\"", "jurisdiction = 5");
    let folder = Folder::new(&format!("policies = 3\n{table}[safety]\nrequire_residency = true\n"));
    folder.write("a.csv", "id,home,residency,policy\na,eu,us,fast\nb,asia,eu,\n");
    assert_eq!(
        folder.told(),
        [
            "t.toml: line 1, policies: must be a table, not 3",
            "t.toml: line 9, regions.us.jurisdiction: must be a name in quotes, not 5",
            "a.csv: line 3, column 2, tenants.b.home: there is no region \"asia\"; there are \"eu\", \"us\"",
        ]
    );
}

#[test]
fn every_tenant_has_its_place() {
    let folder = Folder::new(&format!("{}[tenants]\na = {{ home = \"eu\" }}\n", table()));
    folder.write("a.csv", "home,id\n\neu,b\nus,c\n");
    let document = folder.read().map_err(|unreadable| unreadable.problems).unwrap();
    assert_eq!(document.place("a"), (folder.path("t.toml"), 10));
    assert_eq!(document.place("c"), (folder.path("a.csv"), 4));
    assert_eq!(document.place("nobody"), (folder.path("t.toml"), 0));
}
