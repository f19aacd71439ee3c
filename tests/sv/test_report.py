"""What goes into the page's tables is text, unless it says that it is markup."""

from sv.report.page import Html, table


def test_cells_are_escaped() -> None:
    page = table(["<head>"], [["<script>"], [Html("a<br>b")]], 1)
    assert "&lt;head&gt;" in page and "&lt;script&gt;" in page and "a<br>b" in page
    assert "<script>" not in page
