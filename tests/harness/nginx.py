# SPDX-License-Identifier: GPL-2.0-or-later
"""nginx as a process of a test: in the foreground, with a folder of its own.

Before it: nothing. After it: guarded.py, where it is a front door; tests in which it is a client. It must never touch a file
outside that folder.
"""


def configure(folder, server):
    """The text of its file, with one server, of those lines."""
    return f"""
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr; user root;
events {{ worker_connections 256; }}
http {{
    access_log off; client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{ {server} }}
}}
"""
