{
    'name': 'Library Loans',
    'version': '19.0.1.0.0',
    'summary': 'Lend books and get them back',
    'category': 'Services/Library',
    'author': 'OdooOps',
    'license': 'LGPL-3',
    'depends': ['library'],
    'data': [
        'security/ir.model.access.csv',
        'views/library_loan_views.xml',
        'views/library_book_views.xml',
    ],
    'demo': ['demo/library_loan_demo.xml'],
}
