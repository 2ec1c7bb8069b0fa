"""The option that writes the transcripts anew."""


def pytest_addoption(parser):
    parser.addoption(
        "--record", action="store_true", help="write the golden transcripts anew, as the core is"
    )
