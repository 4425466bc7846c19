from datetime import date

from odoo.exceptions import ValidationError
from odoo.tests import TransactionCase, tagged


@tagged('post_install', '-at_install')
class TestLibraryLoan(TransactionCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.reader = cls.env['res.partner'].create({'name': 'A reader'})
        cls.book = cls.env['library.book'].create({'name': 'Orlando'})

    def lend(self):
        return self.env['library.loan'].create({
            'book_id': self.book.id, 'partner_id': self.reader.id, 'lent_on': date(2026, 3, 2),
        })

    def test_due_three_weeks_later(self):
        self.assertEqual(self.lend().due_on, date(2026, 3, 23))

    def test_a_book_is_lent_once_at_a_time(self):
        first = self.lend()
        self.assertTrue(self.book.is_lent)
        with self.assertRaises(ValidationError):
            self.lend()
        first.action_return()
        self.assertFalse(self.book.is_lent)
        self.assertEqual(first.state, 'returned')
        self.assertTrue(self.lend())

    def test_lent_books_are_found(self):
        books = self.env['library.book'].search([('name', '=', 'Orlando')])
        self.lend()
        self.assertEqual(books.filtered_domain([('is_lent', '=', True)]), self.book)
        self.assertIn(self.book, books.search([('is_lent', '=', True)]))
        self.assertNotIn(self.book, books.search([('is_lent', '=', False)]))
