HEADERS = (("content-type", "text/html; charset=utf-8"),)
def page(scorer, settings): return b"todo"
