{
    'name': 'Library',
    'version': '19.0.1.0.0',
    'summary': 'Books and who wrote them',
    'category': 'Services/Library',
    'author': 'OdooOps',
    'license': 'LGPL-3',
    'depends': ['base', 'web'],
    'data': [
        'security/library_groups.xml',
        'security/ir.model.access.csv',
        'views/library_book_views.xml',
        'views/library_menus.xml',
    ],
    'demo': ['demo/library_book_demo.xml'],
    'application': True,
}
