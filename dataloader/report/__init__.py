"""Reports: what came of a run, as a page for people.

``model`` says what a report holds; a module for each kind of run builds one from that run's result;
``render`` makes a page of it.
"""
