"""Starts Odoo inside an environment.

Odoo listens and notifies on the database `postgres` of its cluster (scheduled actions, the bus) and looks there
whether its own database exists. That database is everybody's; an environment may enter its own only, where listening
and notifying work as well. So what Odoo asks of `postgres` is asked of the environment's database.
"""
import sys

import odoo.sql_db

_connect = odoo.sql_db.db_connect


def _connect_to_own(to, *args, **kwargs):
    if to == 'postgres':
        names = odoo.tools.config['db_name'] or to
        to = names.split(',')[0] if isinstance(names, str) else names[0]
    return _connect(to, *args, **kwargs)


if __name__ == '__main__':
    import odoo.cli
    import odoo.tools
    odoo.sql_db.db_connect = _connect_to_own
    sys.exit(odoo.cli.main())
