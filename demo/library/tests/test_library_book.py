from psycopg2 import IntegrityError

from odoo.exceptions import AccessError, ValidationError
from odoo.tests import Form, TransactionCase, new_test_user, tagged
from odoo.tools import mute_logger


@tagged('post_install', '-at_install')
class TestLibraryBook(TransactionCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.books = cls.env['library.book']
        cls.reader = new_test_user(cls.env, login='library_reader', groups='base.group_user')
        cls.librarian = new_test_user(cls.env, login='library_librarian', groups='library.group_librarian')

    def test_isbn_is_checked(self):
        self.assertTrue(self.books.create({'name': 'Right', 'isbn': '978-3-16-148410-0'}))
        for wrong in ('978-3-16-148410-1', '123', '97831614841OO', '978316148410٠'):
            with self.assertRaises(ValidationError, msg=wrong):
                self.books.create({'name': 'Wrong', 'isbn': wrong})

    def test_isbn_is_unique(self):
        self.books.create({'name': 'First', 'isbn': '978-3-16-148410-0'})
        with mute_logger('odoo.sql_db'), self.assertRaises(IntegrityError):
            self.books.create({'name': 'Second', 'isbn': '978-3-16-148410-0'})

    def test_only_librarians_write(self):
        book = self.books.with_user(self.librarian).create({'name': 'Mine'})
        self.assertEqual(book.with_user(self.reader).name, 'Mine')
        with self.assertRaises(AccessError):
            book.with_user(self.reader).write({'name': 'Yours'})
        with self.assertRaises(AccessError):
            self.books.with_user(self.reader).create({'name': 'Yours'})

    def test_form(self):
        with Form(self.books.with_user(self.librarian)) as form:
            form.name = 'Orlando'
            form.pages = 134
        self.assertEqual(form.record.pages, 134)
