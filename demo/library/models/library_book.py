from odoo import _, api, fields, models
from odoo.exceptions import ValidationError


class LibraryBook(models.Model):
    _name = 'library.book'
    _description = 'Book'
    _order = 'name, id'

    name = fields.Char(string='Title', required=True, index='trigram')
    isbn = fields.Char(string='ISBN', copy=False)
    author_ids = fields.Many2many('res.partner', string='Authors')
    published_on = fields.Date()
    pages = fields.Integer()
    summary = fields.Text()
    active = fields.Boolean(default=True)

    _isbn_unique = models.Constraint('UNIQUE (isbn)', "There is a book with this ISBN already.")
    _pages_positive = models.Constraint('CHECK (pages >= 0)', "A book cannot have a negative number of pages.")

    @api.constrains('isbn')
    def _check_isbn(self):
        for book in self.filtered('isbn'):
            if not self._is_isbn_13(book.isbn):
                raise ValidationError(_("%(isbn)s is not a valid ISBN-13.", isbn=book.isbn))

    @api.model
    def _is_isbn_13(self, isbn):
        """The check digit: the sum of all digits, every second one tripled, is a multiple of ten."""
        digits = isbn.replace('-', '').replace(' ', '')
        if len(digits) != 13 or not (digits.isascii() and digits.isdigit()):
            return False
        return sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits)) % 10 == 0
